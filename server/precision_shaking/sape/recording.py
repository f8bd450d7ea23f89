"""A session's exchanges with its teachers as JSON lines, from which it can be run again without them.

The first line names the teachers; every further one is an exchange, in the order they ended. A session that
is resumed goes on in the same file, without the answers that it never came to use. Keys and headers are never
in it: it is written from what was asked and answered, not from what was sent.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import cattrs
from attrs import asdict, evolve, frozen

from dorpo.softlabels import TokenScore
from precision_shaking.sape.agents import Reply, wanted_options
from precision_shaking.sape.channel import Call, Channel, ChannelError
from precision_shaking.sape.exchange import Exchange, Messages
from precision_shaking.sape.retrying import Trouble
from precision_shaking.sape.teachers import Teacher, TeacherError
from precision_shaking.sape.wire import TeacherAccess

FORMAT = 1
# Who is asked for the scores of an amended answer, where an exchange names its agent.
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
class RecordingChannel:
    """Passes everything on to another channel and keeps what came of it.

    Attributes:
        moment: How many events the session's journal has now.
    """

    path: Path
    inner: Channel
    moment: Callable[[], int]

    @classmethod
    def create(
        cls, path: Path, teachers: Sequence[TeacherAccess], inner: Channel, moment: Callable[[], int]
    ) -> Self:
        """Begin a recording in a file that only the user can read.

        Raises:
            ChannelError: It exists already, or cannot be made.
        """
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise ChannelError(f"The recording {path} exists already: choose another file.") from None
        except OSError as error:
            raise _unwritable(path, error) from error
        _begin(path, teachers)
        return cls(path, inner, moment)

    @classmethod
    def go_on(cls, path: Path, inner: Channel, moment: Callable[[], int]) -> Self:
        """Go on with the recording of a session that is resumed.

        What was asked after the journal's last event is asked again, perhaps with another answer: it is cut
        off, and so is a line that was not written to its end.

        Raises:
            ChannelError: It is gone or damaged, or cannot be written.
        """
        teachers, exchanges = read_recording(path, torn=True)
        known = moment()
        fresh = path.with_name(f"{path.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            _begin(fresh, teachers)
            for exchange in exchanges:
                if exchange.moment < known:
                    _append(fresh, asdict(exchange))
            fresh.replace(path)
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path, inner, moment)

    async def ask(self, call: Call) -> Reply:
        """See `Channel`. A cancelled call is not kept: nobody can be cancelled at the same place again."""
        pieces: list[str] = []

        def hear(text: str) -> None:
            pieces.append(text)
            call.on_text(text)

        agent, teacher, exchange = call.agent, call.teacher, call.exchange
        options = wanted_options(agent, teacher, call.inputs, call.repeat)
        started, moment, failure = time.monotonic(), self.moment(), None
        try:
            return await self.inner.ask(evolve(call, on_text=hear))
        except TeacherError as error:
            failure = error
            raise
        finally:
            if failure is not None or exchange.text is not None:
                self._keep(agent.name, teacher, options, exchange, pieces, started, moment, failure)

    def _keep(
        self,
        agent: str,
        teacher: Teacher,
        options: dict[str, Any],
        exchange: Exchange,
        pieces: Sequence[str],
        started: float,
        moment: int,
        failure: TeacherError | None,
    ) -> None:
        kept = Recorded(
            agent=agent,
            teacher=teacher.name,
            messages=tuple(exchange.messages),
            options=options,
            seconds=round(time.monotonic() - started, 3),
            text=exchange.text,
            finish_reason=exchange.finish_reason,
            input_tokens=exchange.input_tokens,
            output_tokens=exchange.output_tokens,
            cost_usd=exchange.cost_usd,
            error=None if failure is None else str(failure),
            trouble=Trouble.LASTING if failure is None else failure.trouble,
            retry_after=None if failure is None else failure.retry_after,
            pieces=tuple(pieces),
            scores=write_scores(exchange.scores),
            moment=moment,
        )
        _append(self.path, asdict(kept))

    async def score(self, teacher: Teacher, messages: Messages, response: str) -> Sequence[TokenScore]:
        """See `Channel`."""
        started, moment = time.monotonic(), self.moment()
        scores = await self.inner.score(teacher, messages, response)
        exchange = Exchange(scored_chat(messages, response), response, scores=tuple(scores))
        self._keep(SCORER, teacher, {}, exchange, (), started, moment, None)
        return scores


def scored_chat(messages: Messages, response: str) -> Messages:
    """The messages by which an exchange about a given answer is known."""
    return [*messages, {"role": "assistant", "content": response}]


def read_recording(path: Path, *, torn: bool = False) -> tuple[tuple[TeacherAccess, ...], list[Recorded]]:
    """The teachers, without their addresses, and the exchanges of a recording.

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
        raise _damaged(path, text_line(error)) from error
    if torn:
        text = text[: text.rfind("\n") + 1]
    first, *lines = text.removesuffix("\n").split("\n")
    header = _object(path, 1, first)
    if header.get("recording") != FORMAT:
        raise ChannelError(f"{path} is no recording that this version reads: record the session again.")
    try:
        names = cattrs.structure(header.get("teachers"), tuple[str, ...])
        own = cattrs.structure(header.get("worker_only", ()), tuple[str, ...])
    except (cattrs.BaseValidationError, TypeError, ValueError) as error:
        raise _damaged(path, 1) from error
    teachers = tuple(TeacherAccess(name, worker_only=name in own) for name in names)
    return teachers, [_recorded(path, number, line) for number, line in enumerate(lines, 2)]


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


def text_line(error: UnicodeDecodeError) -> int:
    """The line, from 1, on which a text could not be decoded."""
    return error.object[: error.start].count(b"\n") + 1


def _damaged(path: Path, number: int) -> ChannelError:
    return ChannelError(f"The recording {path} is damaged in line {number}: record the session again.")


def _unwritable(path: Path, error: OSError) -> ChannelError:
    return ChannelError(
        f"The recording {path} cannot be written ({error.strerror or error}): choose another file."
    )


def _begin(path: Path, teachers: Sequence[TeacherAccess]) -> None:
    # Names alone: addresses and keys are nobody's business.
    names = [teacher.name for teacher in teachers]
    own = [teacher.name for teacher in teachers if teacher.worker_only]
    _append(path, {"recording": FORMAT, "teachers": names, "worker_only": own})


def _append(path: Path, data: dict[str, Any]) -> None:
    # Pure ASCII: half of a surrogate pair, which a model can write, has no other form in a file.
    line = json.dumps(data, ensure_ascii=True) + "\n"
    try:
        # Closed each time, so that a killed engine leaves every exchange that ended before.
        with path.open("a", encoding="ascii", newline="\n") as file:
            file.write(line)
    except OSError as error:
        raise _unwritable(path, error) from error


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
