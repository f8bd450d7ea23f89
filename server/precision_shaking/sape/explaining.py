"""From what a call of a teacher ended in to one sentence for the user, and whether to ask again."""

from __future__ import annotations

import json
import re

from precision_shaking.sape.retrying import Trouble
from precision_shaking.sape.teachers import TeacherError, one_line
from precision_shaking.sape.wire import TeacherAccess

# Some servers have no code of its own for it.
_TOO_LONG = re.compile(
    r"context[ _](?:length|window|size)|(?:prompt|input|request) is too (?:long|large)"
    r"|too many (?:input )?tokens",
    re.IGNORECASE,
)
_KEY = re.compile(r"\b(sk|key|pk|gsk|xai)-[\w*-]{8,}")
# "Network Authentication Required": somebody between us and the teacher wants a login.
_LOGIN_STATUS = 511


def explain(error: Exception, access: TeacherAccess, *, begun: bool) -> TeacherError:
    """The user's sentence for whatever a call of this teacher ended in.

    Args:
        error: DSPy's, or the network's.
        access: The teacher.
        begun: Whether a part of the answer had arrived. Parts are shown, and never used.
    """
    from dspy.utils import exceptions as e

    name, where = access.name, access.base_url or "its provider"
    status = getattr(error, "status", None)
    if begun and isinstance(error, e.LMTransportError | e.LMUnexpectedError) and not _silent(error):
        return TeacherError(f"The connection to {name} broke in the middle of its answer.", Trouble.BROKEN)
    if status == _LOGIN_STATUS or isinstance(error, e.LMStreamAssemblyError) or _is_no_json(error):
        return TeacherError(
            f"{name} sent something else than an answer, perhaps a login page: check that you are online and "
            f"that {where} is right.",
            Trouble.BROKEN,
        )
    if isinstance(error, e.ContextWindowExceededError) or _too_long(error):
        return TeacherError(
            f"The script and instruction do not fit in the context of {name}: shorten the script, or use a "
            "teacher that reads more."
        )
    if isinstance(error, e.LMRateLimitError):
        return TeacherError(_busy(name, error.retry_after), Trouble.BUSY, error.retry_after)
    if isinstance(error, e.LMServerError) or (isinstance(error, e.LMTimeoutError) and status is not None):
        said = one_line(_redact(_said(error), access.api_key))
        return TeacherError(f"{name} has a fault of its own: {said}", Trouble.FAILING, error.retry_after)
    if isinstance(error, e.LMTransportError) and not _silent(error):
        return TeacherError(
            f"{name} cannot be reached: check that {where} runs and that you are online.", Trouble.UNREACHABLE
        )
    return TeacherError(_lasting(error, access, where))


def _lasting(error: Exception, access: TeacherAccess, where: str) -> str:
    """The sentence for what asking again cannot help."""
    from dspy.utils import exceptions as e

    name = access.name
    sentences: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
        (
            e.LMAuthError,
            f"{name} refuses the API key: set the right one for {_key_of(error, access, where)}.",
        ),
        (e.LMNotConfiguredError, f"{name} needs an API key: set the one of {_key_of(error, access, where)}."),
        (
            e.LMBillingError,
            f"{name} says that the account has no credit left: top it up or use another teacher.",
        ),
        (
            (e.LMTimeoutError, e.LMTransportError, TimeoutError),
            f"{name} did not answer in time: check that {where} works.",
        ),
        (e.LMUnsupportedModelError, f"{where} has no model {name}: check the teacher's name."),
    ]
    for kinds, sentence in sentences:
        if isinstance(error, kinds):
            return sentence
    return f"{name} failed: {one_line(_redact(_said(error), access.api_key))}"


def _busy(name: str, asked: float | None) -> str:
    when = "a little" if asked is None else f"{asked:.0f} seconds"
    return f"{name} gets too many requests: wait {when}, or add another teacher."


def _key_of(error: Exception, access: TeacherAccess, where: str) -> str:
    """Whose key it is, and the variable that a provider's own key is read from."""
    variables = getattr(error, "env_keys", ())
    return f"{where} ({' or '.join(variables)})" if variables and access.base_url is None else where


def _silent(error: Exception) -> bool:
    # Only the message tells a server that says nothing from one that cannot be reached.
    return "read timed out" in str(error)


def _is_no_json(error: Exception) -> bool:
    return isinstance(error.__cause__, json.JSONDecodeError)


def _too_long(error: Exception) -> bool:
    from dspy.utils.exceptions import LMInvalidRequestError

    return isinstance(error, LMInvalidRequestError) and bool(_TOO_LONG.search(str(error)))


def _said(error: Exception) -> str:
    """The provider's own words, without the advice to programmers below them."""
    return str(getattr(error, "message", "") or error).partition("\n\n")[0]


def _redact(text: str, api_key: str | None) -> str:
    return _KEY.sub("[key]", text.replace(api_key, "[key]") if api_key else text)
