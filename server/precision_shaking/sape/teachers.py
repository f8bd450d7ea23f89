"""Teachers: from the names a user writes to language models, and from their errors to sentences."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from attrs import define, field

from precision_shaking.sape.wire import TeacherAccess

if TYPE_CHECKING:
    import dspy

EMBEDDED = "embedded/"
# A teacher that has sent nothing for so long is not going to.
IDLE_SECONDS = 90.0
TOTAL_SECONDS = 900.0
TOP_LOGPROBS = 20
# What a server that allows fewer alternatives usually allows.
_FEWER_LOGPROBS = 5
_NAME = re.compile(r"[\w.-]+/\S+")
_URL = re.compile(r"https?://[^\s/@]+\S*")


class TeacherError(Exception):
    """A teacher cannot be used or did not answer; the message is one sentence for the user.

    Attributes:
        passing: Whether asking it again may help.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


def parse_teacher(text: str, api_key: str | None = None) -> TeacherAccess:
    """Read NAME[@BASE_URL], for example `openai/my-model@http://127.0.0.1:8000/v1`.

    Args:
        text: As the user wrote it.
        api_key: Sent to the teacher, where one is needed.

    Raises:
        TeacherError: It is not written like that.
    """
    name, at, url = text.strip().partition("@http")
    base_url = f"http{url}" if at else None
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
        top_logprobs: Alternatives asked for at each token; None once it has refused all log-probabilities.
        gives_logprobs: True or False once that is known.
        refused: Other options that it turned out not to take.
    """

    access: TeacherAccess
    lm: dspy.LM
    top_logprobs: int | None = TOP_LOGPROBS
    gives_logprobs: bool | None = None
    refused: set[str] = field(factory=set)

    @property
    def name(self) -> str:
        """What users and the dataset call it."""
        return self.access.name

    @property
    def embedded(self) -> bool:
        """Whether it runs inside this process."""
        return self.name.startswith(EMBEDDED)

    def options(self, **wanted: Any) -> dict[str, Any]:
        """The wanted options without those that it refuses, and its log-probabilities."""
        options = {
            name: value for name, value in wanted.items() if name not in self.refused and value is not None
        }
        return options if self.top_logprobs is None else {**options, "logprobs": self.top_logprobs}

    def learn_from(self, error: Exception, asked: dict[str, Any]) -> bool:
        """Whether an error means that an option is not supported, so that asking without it may help."""
        words = str(error).lower()
        if asked.get("logprobs") is not None and "logprobs" in words:
            fewer = "top_logprobs" in words and asked["logprobs"] > _FEWER_LOGPROBS
            self.top_logprobs = _FEWER_LOGPROBS if fewer else None
            self.gives_logprobs = None if fewer else False
            return True
        for option in ("temperature", "seed", "max_tokens"):
            if option in asked and option in words and option not in self.refused:
                self.refused.add(option)
                return True
        return False


def connect(access: TeacherAccess) -> Teacher:
    """Make a teacher; nothing is sent yet.

    Raises:
        TeacherError: There is no such teacher, or what it needs is not installed.
    """
    import dspy
    from dspy.utils.exceptions import DSPyError

    if access.name.startswith(EMBEDDED):
        return Teacher(access, _embedded(access.name))
    reach: dict[str, Any] = {"timeout": IDLE_SECONDS}
    if access.base_url is not None:
        # A key from the environment belongs to the provider, not to whoever serves this address.
        reach |= {"api_base": access.base_url, "api_key": access.api_key or "none"}
    elif access.api_key is not None:
        reach["api_key"] = access.api_key
    try:
        return Teacher(access, dspy.LM(access.name, cache=False, num_retries=1, **reach))
    except (DSPyError, ValueError) as error:
        raise TeacherError(f"{access.name} cannot be used as a teacher: {_line(str(error))}") from error


def _embedded(name: str) -> dspy.LM:
    from precision_shaking.sape.embedded import EmbeddedModelUnavailableError, embedded_lm

    try:
        return embedded_lm(name, max_tokens=1024)
    except EmbeddedModelUnavailableError as error:
        raise TeacherError(str(error)) from error


def explain(error: Exception, access: TeacherAccess) -> TeacherError:
    """The user's sentence for whatever a call of this teacher ended in."""
    from dspy.utils import exceptions as e

    name, where = access.name, access.base_url or "its provider"
    sentences: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
        (e.LMAuthError, f"{name} refuses the API key: set the right one for {where}."),
        (e.LMNotConfiguredError, f"{name} needs an API key: set the one of {where}."),
        (
            e.LMBillingError,
            f"{name} says that the account has no credit left: top it up or use another teacher.",
        ),
        (e.LMRateLimitError, f"{name} gets too many requests: wait a little, or add another teacher."),
        (e.ContextWindowExceededError, f"The script is too long for {name}: use a teacher that reads more."),
        ((e.LMTimeoutError, TimeoutError), f"{name} did not answer in time: check that {where} works."),
        (e.LMUnsupportedModelError, f"{where} has no model {name}: check the teacher's name."),
        (e.LMTransportError, f"{name} cannot be reached: check that {where} runs and that you are online."),
        (e.LMStreamAssemblyError, f"The connection to {name} broke in the middle of its answer: try again."),
    ]
    for kinds, sentence in sentences:
        if isinstance(error, kinds):
            return TeacherError(sentence, passing=isinstance(error, e.LMStreamAssemblyError))
    return TeacherError(
        f"{name} failed: {_line(_redact(str(error), access.api_key))}",
        passing=isinstance(error, e.LMServerError),
    )


def _line(text: str, longest: int = 200) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= longest else f"{line[:longest]}…"
    return line if line.endswith((".", "…")) else f"{line or 'it said nothing'}."


def _redact(text: str, api_key: str | None) -> str:
    text = text.replace(api_key, "[key]") if api_key else text
    return re.sub(r"\b(sk|key|pk|gsk|xai)-[\w*-]{8,}", "[key]", text)
