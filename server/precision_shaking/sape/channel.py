"""The way from a session to its teachers: directly, into a recording, or out of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from dorpo.softlabels import TokenScore
from precision_shaking.sape.agents import Agent, Reply, ask
from precision_shaking.sape.exchange import Exchange, Messages
from precision_shaking.sape.prices import cost_usd
from precision_shaking.sape.rescoring import score
from precision_shaking.sape.teachers import Teacher


class ChannelError(Exception):
    """Teachers cannot be reached this way; the message is one sentence for the user."""


@frozen
class Call:
    """One question of an agent to a teacher; see `agents.ask`.

    Attributes:
        inputs: The signature's.
        repeat: How often the same was asked before, so that it is not answered in the same way.
        exchange: Filled with what is asked and answered, even where that comes to nothing.
        on_text: Called with each piece of the answer as it comes.
    """

    agent: Agent
    teacher: Teacher
    inputs: dict[str, str]
    repeat: int
    exchange: Exchange
    on_text: Callable[[str], None]


class Channel(Protocol):
    """What a session needs of its teachers. Both methods may raise ChannelError."""

    async def ask(self, call: Call) -> Reply:
        """Ask an agent once.

        Raises:
            TeacherError: The teacher failed.
        """

    async def score(self, model: str, messages: Messages, response: str) -> Sequence[TokenScore]:
        """What a model thinks of this answer to the chat; empty where both are too long for it.

        Raises:
            TeacherError: The model cannot be used.
        """


@frozen
class DirectChannel:
    """Asks the teachers themselves, and knows what that costs."""

    async def ask(self, call: Call) -> Reply:
        """See `Channel`."""
        reply = await ask(
            call.agent,
            call.teacher,
            call.inputs,
            repeat=call.repeat,
            exchange=call.exchange,
            on_text=call.on_text,
        )
        call.exchange.cost_usd = cost_usd(call.teacher.access, call.exchange)
        return reply

    async def score(self, model: str, messages: Messages, response: str) -> Sequence[TokenScore]:
        """See `Channel`."""
        return await score(model, messages, response)
