"""Runs a session again out of a recording: no teacher is asked, and no network is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from attrs import define, field, frozen

from dorpo.softlabels import TokenScore
from precision_shaking.sape.agents import Reply, ask, wanted_options
from precision_shaking.sape.channel import Call, ChannelError
from precision_shaking.sape.exchange import Exchange, Messages
from precision_shaking.sape.recording_file import (
    SCORER,
    Recorded,
    Recording,
    read_recording,
    read_scores,
    scored_chat,
)
from precision_shaking.sape.retrying import Patience, Trouble
from precision_shaking.sape.teachers import Teacher, TeacherError, silent

# Characters shown of two texts that differ.
_SHOWN = 30


@frozen
class _NoWaiting(Patience):
    """Gives up where the recorded session did, but does not sit out its pauses."""

    def pause(self, trouble: Trouble, failures: int, asked: float | None, chance: float) -> float | None:
        return None if super().pause(trouble, failures, asked, chance) is None else 0.0


@define
class ReplayChannel:
    """Answers every question with the first exchange not yet used that asked the same of the same teacher."""

    path: Path
    recording: Recording
    _unused: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._unused = list(range(len(self.recording.exchanges)))

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a recording.

        Raises:
            ChannelError: It cannot be read, or is damaged.
        """
        return cls(path, read_recording(path))

    def pool(self) -> list[Teacher]:
        """The recording's teachers, whom nobody can reach."""
        return [silent(teacher, _NoWaiting()) for teacher in self.recording.teachers]

    async def ask(self, call: Call) -> Reply:
        """See `Channel`.

        Raises:
            ChannelError: This was not asked when the session was recorded.
        """
        agent, teacher, inputs, repeat = call.agent, call.teacher, call.inputs, call.repeat
        options = wanted_options(agent, teacher, inputs, repeat)

        async def respond(exchange: Exchange) -> None:
            recorded = self._take(agent.name, teacher.name, exchange.messages, options)
            for piece in recorded.pieces:
                call.on_text(piece)
            _fill(exchange, recorded)
            if recorded.error is not None:
                raise TeacherError(recorded.error, recorded.trouble, recorded.retry_after)

        return await ask(
            agent,
            teacher,
            inputs,
            repeat=repeat,
            exchange=call.exchange,
            on_text=call.on_text,
            respond=respond,
        )

    async def score(self, model: str, messages: Messages, response: str) -> Sequence[TokenScore]:
        """See `Channel`.

        Raises:
            ChannelError: This was not asked when the session was recorded.
        """
        recorded = self._take(SCORER, model, scored_chat(messages, response), {})
        return read_scores(recorded.scores)

    def _take(self, agent: str, teacher: str, messages: Messages, options: dict[str, Any]) -> Recorded:
        for number in self._unused:
            recorded = self.recording.exchanges[number]
            if difference(recorded, agent, teacher, messages, options) is None:
                self._unused.remove(number)
                return recorded
        raise ChannelError(
            f"The session asks the {agent} something that is not in the recording {self.path}: "
            f"{self._nearest(agent, teacher, messages, options)}."
        )

    def _nearest(self, agent: str, teacher: str, messages: Messages, options: dict[str, Any]) -> str:
        """What the question should have been."""
        exchanges = self.recording.exchanges
        if not self._unused:
            return f"all of its {len(exchanges)} exchanges have been used"
        of_agent = [number for number in self._unused if exchanges[number].agent == agent]
        number = (of_agent or self._unused)[0]
        why = difference(exchanges[number], agent, teacher, messages, options)
        return f"exchange {number + 1} {why}"


def difference(
    recorded: Recorded, agent: str, teacher: str, messages: Messages, options: dict[str, Any]
) -> str | None:
    """In what a recorded exchange is another than this one, as the end of a sentence; None when it is not."""
    if recorded.agent != agent:
        return f"is one of the {recorded.agent}"
    if recorded.teacher != teacher:
        return f"went to {recorded.teacher} and not to {teacher}"
    for name in {**recorded.options, **options}:
        before, now = recorded.options.get(name), options.get(name)
        if before != now:
            return f"had the {name} {before} and not {now}"
    if len(recorded.messages) != len(messages):
        return f"had {len(recorded.messages)} messages and not {len(messages)}"
    for before, now in zip(recorded.messages, messages, strict=True):
        if before != now:
            there, here = _parting(before.get("content", ""), now["content"])
            return f"had {there!r} in its {now['role']} message where there is {here!r} now"
    return None


def _parting(before: str, now: str) -> tuple[str, str]:
    """What stands on the line where two texts part, from near that place on."""
    same = 0
    while same < min(len(before), len(now)) and before[same] == now[same]:
        same += 1
    # From the line's beginning where that is near, so that people recognise it.
    start = max(before.rfind("\n", 0, same) + 1, same - _SHOWN // 2)
    there, here = before[start : start + _SHOWN], now[start : start + _SHOWN]
    return there.partition("\n")[0], here.partition("\n")[0]


def _fill(exchange: Exchange, recorded: Recorded) -> None:
    exchange.text = recorded.text
    exchange.finish_reason = recorded.finish_reason
    exchange.input_tokens = recorded.input_tokens
    exchange.output_tokens = recorded.output_tokens
    exchange.cost_usd = recorded.cost_usd
    exchange.scores = read_scores(recorded.scores)
