"""The file of a recording: JSON lines, the first about the session, every further one an exchange.

Keys and headers are never in it: it is written from what was asked and answered, not from what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cattrs
from attrs import frozen

from dorpo.softlabels import TokenScore
from precision_shaking.sape.channel import ChannelError
from precision_shaking.sape.exchange import Messages
from precision_shaking.sape.retrying import Trouble
from precision_shaking.sape.wire import TeacherAccess

FORMAT = 1
# Who is asked for the scores of a given answer, where an exchange names its agent.
SCORER = "scorer"

# A token, its log-probability, and the alternatives with theirs.
_Score = tuple[str, float, tuple[tuple[str, float], ...]]


@frozen(kw_only=True)
class Recorded:
    """One exchange as it is kept.

    Attributes:
        agent: Whose call it was.
        teacher: Who was asked.
        messages: The chat as role and content.
        options: How the teacher was to answer.
        text: The answer; None when none came.
        pieces: The answer as it was written, piece by piece.
        scores: Its log-probabilities; bytes that are no UTF-8 are escaped as lone surrogates.
        error: What the user was told when the teacher failed; None when it answered.
        trouble: In that case, what it said of asking again.
        retry_after: Seconds that the teacher asked to be left alone.
        moment: How many events the session's journal had then; the next one holds what came of the answer.
    """

    agent: str
    teacher: str
    messages: tuple[dict[str, str], ...]
    options: dict[str, Any]
    seconds: float
    text: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    trouble: Trouble = Trouble.LASTING
    retry_after: float | None = None
    pieces: tuple[str, ...] = ()
    scores: tuple[_Score, ...] = ()
    moment: int = 0


@frozen
class Recording:
    """What a recording holds.

    Attributes:
        teachers: Without their addresses.
        scorer: The model that was named for texts without soft labels.
    """

    teachers: tuple[TeacherAccess, ...]
    scorer: str | None
    exchanges: tuple[Recorded, ...]


def scored_chat(messages: Messages, response: str) -> Messages:
    """The messages by which an exchange about a given answer is known."""
    return [*messages, {"role": "assistant", "content": response}]


def read_recording(path: Path, *, torn: bool = False) -> Recording:
    """Read a recording.

    Args:
        path: Its file.
        torn: Whether a last line without an end is left out, as a killed engine leaves it.

    Raises:
        ChannelError: It cannot be read, or a line of it is damaged.
    """
    try:
        text = path.read_text("ascii")
    except OSError as error:
        raise ChannelError(f"The recording {path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise _damaged(path, _text_line(error)) from error
    if torn:
        text = text[: text.rfind("\n") + 1]
    first, *lines = text.removesuffix("\n").split("\n")
    header = _object(path, 1, first)
    if header.get("recording") != FORMAT:
        raise ChannelError(f"{path} is no recording that this version reads: record the session again.")
    try:
        names = cattrs.structure(header.get("teachers"), tuple[str, ...])
        own = cattrs.structure(header.get("worker_only", ()), tuple[str, ...])
        scorer = None if header.get("scorer") is None else cattrs.structure(header["scorer"], str)
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise _damaged(path, 1) from error
    teachers = tuple(TeacherAccess(name, worker_only=name in own) for name in names)
    exchanges = tuple(_recorded(path, number, line) for number, line in enumerate(lines, 2))
    return Recording(teachers, scorer, exchanges)


def _recorded(path: Path, number: int, line: str) -> Recorded:
    data = _object(path, number, line)
    try:
        return cattrs.structure(data, Recorded)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as error:
        raise _damaged(path, number) from error


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise _damaged(path, number) from error
    if not isinstance(data, dict):
        raise _damaged(path, number)
    return data


def _text_line(error: UnicodeDecodeError) -> int:
    # Counted from 1.
    return error.object[: error.start].count(b"\n") + 1


def _damaged(path: Path, number: int) -> ChannelError:
    return ChannelError(f"The recording {path} is damaged in line {number}: record the session again.")


def unwritable(path: Path, error: OSError) -> ChannelError:
    """What the user is told of a file that cannot be written."""
    return ChannelError(
        f"The recording {path} cannot be written ({error.strerror or error}): choose another file."
    )


def begin(path: Path, teachers: Sequence[TeacherAccess], scorer: str | None) -> None:
    """Write the first line; errors as for `append`."""
    # Names alone: addresses and keys are nobody's business.
    names = [teacher.name for teacher in teachers]
    own = [teacher.name for teacher in teachers if teacher.worker_only]
    append(path, {"recording": FORMAT, "teachers": names, "worker_only": own, "scorer": scorer})


def append(path: Path, data: dict[str, Any]) -> None:
    """Write a further line.

    Raises:
        ChannelError: The file cannot be written.
    """
    # Pure ASCII: half of a surrogate pair, which a model can write, has no other form in a file.
    line = json.dumps(data, ensure_ascii=True) + "\n"
    try:
        # Closed each time, so that a killed engine leaves every exchange that ended before.
        with path.open("a", encoding="ascii", newline="\n") as file:
            file.write(line)
    except OSError as error:
        raise unwritable(path, error) from error


def write_scores(scores: Iterable[TokenScore]) -> tuple[_Score, ...]:
    """Scores in a form that JSON can hold without losing a bit."""
    return tuple(
        (_text(score.token), score.logprob, tuple((_text(other), value) for other, value in score.top))
        for score in scores
    )


def read_scores(scores: Iterable[_Score]) -> tuple[TokenScore, ...]:
    """The scores that `write_scores` wrote."""
    return tuple(
        TokenScore(_bytes(token), value, tuple((_bytes(other), p) for other, p in top))
        for token, value, top in scores
    )


def _text(token: bytes) -> str:
    return token.decode("utf-8", "surrogateescape")


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogateescape")
