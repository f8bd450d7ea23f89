"""What a session asks its user: the question that is open, and which answers it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from attrs import define, evolve, field

from precision_shaking.sape import happenings as h
from precision_shaking.sape.instances.documents import DocumentFaultError
from precision_shaking.sape.state import State
from precision_shaking.sape.vocabulary import Help, Phase, Verdict
from precision_shaking.sape.wire import AnswerParams, HelpParams

T = TypeVar("T")


class SessionError(Exception):
    """A request came at the wrong time or says nothing; the message is one sentence for the user."""


@define
class Questions:
    """At most one question at a time: what the user makes of a proposal, or how to go on without one.

    Attributes:
        read: The whole document that a text of the user's means, from what it was made of; raises
            DocumentFaultError.
    """

    read: Callable[[str, str], str]
    _state: State | None = field(default=None, init=False)
    _answer: asyncio.Future[AnswerParams] | None = field(default=None, init=False)
    _help: asyncio.Future[HelpParams] | None = field(default=None, init=False)

    def open(self, state: State) -> None:
        """Be ready for the answer to this state's question before that is heard: it may come at once."""
        self._state = state
        loop = asyncio.get_running_loop()
        if state.phase is Phase.ASKING:
            self._answer = loop.create_future()
        elif state.phase is Phase.STUCK:
            self._help = loop.create_future()

    def answer(self, params: AnswerParams) -> None:
        """Answer the proposal.

        Raises:
            SessionError: No proposal, or another one, waits; or the answer says nothing, or is no document.
        """
        state = self._state
        if self._answer is None or self._answer.done() or state is None or state.attempt is None:
            raise SessionError("No proposal waits for an answer.")
        if params.attempt != state.attempt.uid:
            raise SessionError("That proposal is not the one that waits for an answer.")
        if params.verdict is not None:
            known_verdict(params.verdict)
        elif not params.words.strip():
            raise SessionError("Say what you think of the proposal, or choose accept, redo or further edit.")
        self._answer.set_result(evolve(params, amended=self._own(state.attempt.script, params.amended)))

    def help(self, params: HelpParams) -> None:
        """Say how to go on after every teacher failed.

        Raises:
            SessionError: Nothing needs help, or the choice is unknown.
        """
        if self._help is None or self._help.done() or self._state is None:
            raise SessionError("No step waits for your help.")
        if params.choice not in set(Help):
            raise SessionError(f"{params.choice!r} is no choice: it is retry, skip or stop.")
        self._help.set_result(evolve(params, script=self._own(self._state.current_script, params.script)))

    async def hear_answer(self) -> h.Commented | h.Answered:
        """Wait for what the user makes of the proposal."""
        said = await _asked(self._answer)
        amended, document = _ended(said.amended), _ended(said.document)
        if said.verdict is None:
            return h.Commented(said.words, amended, document)
        return h.Answered(Verdict(said.verdict), said.words, amended, document)

    async def hear_help(self) -> h.Helped:
        """Wait for how the user wants to go on."""
        said = await _asked(self._help)
        return h.Helped(Help(said.choice), _ended(said.script), _ended(said.document))

    def _own(self, before: str, text: str | None) -> str | None:
        """The whole document that a text of the user's means."""
        if text is None:
            return None
        try:
            return self.read(before, text)
        except DocumentFaultError as error:
            raise SessionError(f"Your text cannot be used: {error}") from error


def known_verdict(verdict: str) -> None:
    """See that there is such a verdict.

    Raises:
        SessionError: There is none.
    """
    if verdict not in set(Verdict):
        raise SessionError(f"{verdict!r} is no verdict: it is accepted, redo or further_edit.")


async def _asked(question: asyncio.Future[T] | None) -> T:
    if question is None:
        raise RuntimeError("nothing was asked")
    return await question


def _ended(script: str | None) -> str | None:
    """A script as the workflow knows it: it ends with exactly one line end."""
    return None if script is None else script.rstrip("\n") + "\n"
