"""A session's exchanges with its teachers, kept so that it can be run again without them.

A session that is resumed goes on in the same file, without the answers that it never came to use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import asdict, evolve, frozen

from dorpo.softlabels import TokenScore
from precision_shaking.sape.agents import Reply, wanted_options
from precision_shaking.sape.channel import Call, Channel, ChannelError
from precision_shaking.sape.exchange import Exchange, Messages
from precision_shaking.sape.recording_file import (
    SCORER,
    Recorded,
    append,
    begin,
    read_recording,
    scored_chat,
    unwritable,
    write_scores,
)
from precision_shaking.sape.retrying import Trouble
from precision_shaking.sape.teachers import TeacherError
from precision_shaking.sape.wire import TeacherAccess


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
        cls,
        path: Path,
        teachers: Sequence[TeacherAccess],
        scorer: str | None,
        inner: Channel,
        moment: Callable[[], int],
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
            raise unwritable(path, error) from error
        begin(path, teachers, scorer)
        return cls(path, inner, moment)

    @classmethod
    def go_on(cls, path: Path, inner: Channel, moment: Callable[[], int]) -> Self:
        """Go on with the recording of a session that is resumed.

        What was asked after the journal's last event is asked again, perhaps with another answer: it is cut
        off, and so is a line that was not written to its end.

        Raises:
            ChannelError: It is gone or damaged, or cannot be written.
        """
        recorded = read_recording(path, torn=True)
        known = moment()
        fresh = path.with_name(f"{path.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            begin(fresh, recorded.teachers, recorded.scorer)
            for exchange in recorded.exchanges:
                # What came of scores is stored at once, not with an event.
                if exchange.moment < known or exchange.agent == SCORER:
                    append(fresh, asdict(exchange))
            fresh.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error
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
                self._keep(agent.name, teacher.name, options, exchange, pieces, started, moment, failure)

    def _keep(
        self,
        agent: str,
        teacher: str,
        options: dict[str, Any],
        exchange: Exchange,
        pieces: Sequence[str],
        started: float,
        moment: int,
        failure: TeacherError | None,
    ) -> None:
        kept = Recorded(
            agent=agent,
            teacher=teacher,
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
        append(self.path, asdict(kept))

    async def score(self, model: str, messages: Messages, response: str) -> Sequence[TokenScore]:
        """See `Channel`."""
        started, moment = time.monotonic(), self.moment()
        scores = await self.inner.score(model, messages, response)
        exchange = Exchange(scored_chat(messages, response), response, scores=tuple(scores))
        self._keep(SCORER, model, {}, exchange, (), started, moment, None)
        return scores
