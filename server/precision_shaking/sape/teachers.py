"""Teachers: from the names a user writes to language models."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from attrs import define, field

from precision_shaking.sape.retrying import Patience, Trouble
from precision_shaking.sape.scorers import EMBEDDED
from precision_shaking.sape.wire import TeacherAccess
from precision_shaking.settings import split_teacher

if TYPE_CHECKING:
    import dspy

# The option that holds a text which the answer will mostly repeat.
PREDICTION = "prediction"
TOP_LOGPROBS = 20
# What a server that allows fewer alternatives usually allows.
_FEWER_LOGPROBS = 5
_NAME = re.compile(r"[\w.-]+/\S+")
_URL = re.compile(r"https?://[^\s/@]+\S*")


class TeacherError(Exception):
    """A teacher cannot be used or did not answer; the message is one sentence for the user.

    Attributes:
        trouble: What that says of asking it again.
        retry_after: Seconds that it asked to be left alone.
    """

    def __init__(
        self, message: str, trouble: Trouble = Trouble.LASTING, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.retry_after = retry_after

    @property
    def passing(self) -> bool:
        """Whether it counts as an answer that cannot be read: asked once more, then the next teacher."""
        return self.trouble is Trouble.BROKEN


def parse_teacher(text: str, api_key: str | None = None) -> TeacherAccess:
    """Read NAME[@BASE_URL], for example `openai/my-model@http://127.0.0.1:8000/v1`.

    Args:
        text: As the user wrote it.
        api_key: Sent to the teacher, where one is needed.

    Raises:
        TeacherError: It is not written like that.
    """
    name, base_url = split_teacher(text.strip())
    if not _NAME.fullmatch(name) or (base_url is not None and not _URL.fullmatch(base_url)):
        raise TeacherError(
            f"{text!r} is no teacher: write PROVIDER/MODEL or PROVIDER/MODEL@http://HOST/v1, for example "
            "embedded/smollm2."
        )
    return TeacherAccess(name, base_url, api_key)


@define(eq=False)
class Teacher:
    """A teacher that can be asked.

    Attributes:
        access: Its name and how to reach it.
        lm: What DSPy calls.
        patience: How long it is waited for.
        top_logprobs: Alternatives asked for at each token; None once it has refused all log-probabilities.
        refused: Other options that it turned out not to take.
        reasons: Whether agents with short answers reason before them. The embedded model forgets over it what
            it was asked, see `bench/reasoning.py`.
    """

    access: TeacherAccess
    lm: dspy.LM
    patience: Patience = field(factory=Patience)
    top_logprobs: int | None = TOP_LOGPROBS
    refused: set[str] = field(factory=set)
    reasons: bool = field()

    @reasons.default
    def _reasons_unless_embedded(self) -> bool:
        return not self.embedded

    @property
    def name(self) -> str:
        """What users and the dataset call it."""
        return self.access.name

    @property
    def embedded(self) -> bool:
        """Whether it runs inside this process."""
        return self.name.startswith(EMBEDDED)

    def options(self, **wanted: Any) -> dict[str, Any]:
        """The wanted options without those that it refuses, and its log-probabilities.

        A predicted answer is only for those who give none: no provider takes both.
        """
        options = {
            name: value for name, value in wanted.items() if name not in self.refused and value is not None
        }
        if self.top_logprobs is None:
            return options
        options.pop(PREDICTION, None)
        return {**options, "logprobs": self.top_logprobs}

    def learn_from(self, error: Exception, asked: dict[str, Any]) -> bool:
        """Whether an error means that an option is not supported, so that asking without it may help."""
        if asked.get("logprobs") is not None and _is_no_number(error):
            self.top_logprobs = None
            return True
        words = str(error).lower()
        if asked.get("logprobs") is not None and "logprobs" in words:
            fewer = "top_logprobs" in words and asked["logprobs"] > _FEWER_LOGPROBS
            self.top_logprobs = _FEWER_LOGPROBS if fewer else None
            return True
        for option in ("temperature", "seed", "max_tokens", PREDICTION):
            if option in asked and option in words and option not in self.refused:
                self.refused.add(option)
                return True
        return False


def _is_no_number(error: Exception) -> bool:
    """Whether what should be a log-probability could not be read; the answer itself may be fine."""
    cause = error.__cause__
    return isinstance(cause, TypeError | ValueError) and not isinstance(cause, json.JSONDecodeError)


def connect(access: TeacherAccess, patience: Patience | None = None) -> Teacher:
    """Make a teacher; nothing is sent yet.

    Args:
        access: Which.
        patience: How long it is waited for; None for the usual.

    Raises:
        TeacherError: There is no such teacher, or what it needs is not installed.
    """
    import dspy
    from dspy.utils.exceptions import DSPyError

    patience = patience or Patience()
    if access.name.startswith(EMBEDDED):
        return Teacher(access, _embedded(access.name), patience)
    reach: dict[str, Any] = {"timeout": patience.idle_seconds}
    if access.base_url is not None:
        # A key from the environment belongs to the provider, not to whoever serves this address.
        reach |= {"api_base": access.base_url, "api_key": access.api_key or "none"}
    elif access.api_key is not None:
        reach["api_key"] = access.api_key
    try:
        # Asking again is the consultant's: DSPy would do it unseen.
        return Teacher(access, dspy.LM(access.name, cache=False, num_retries=0, **reach), patience)
    except (DSPyError, ValueError) as error:
        raise TeacherError(f"{access.name} cannot be used as a teacher: {one_line(str(error))}") from error


def silent(access: TeacherAccess, patience: Patience) -> Teacher:
    """A teacher that can be named but not asked, for a session whose answers come from elsewhere."""
    import dspy

    return Teacher(access, dspy.LM(access.name, engine=_Silence(), cache=False, num_retries=0), patience)


class _Silence:
    """An engine without a model behind it, so that nothing can be sent by mistake."""

    def complete(self, request: object) -> None:  # noqa: ARG002 - DSPy names it
        raise TeacherError("This teacher cannot be asked.")


def _embedded(name: str) -> dspy.LM:
    from precision_shaking.sape.embedded import EmbeddedModelUnavailableError, embedded_lm

    try:
        return embedded_lm(name, max_tokens=1024)
    except EmbeddedModelUnavailableError as error:
        raise TeacherError(str(error)) from error


def one_line(text: str, longest: int = 200) -> str:
    """Somebody else's words as the end of a sentence of ours."""
    line = " ".join(text.split())
    line = line if len(line) <= longest else f"{line[:longest]}…"
    return line if line.endswith((".", "…")) else f"{line or 'it said nothing'}."
