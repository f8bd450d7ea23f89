"""The user's answers: to a proposal, and to the question of a session that got stuck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from precision_shaking.lsp import protocol
from precision_shaking.lsp.by_hand import solve
from precision_shaking.lsp.following import show
from precision_shaking.lsp.proposals import Pending, accept, as_left
from precision_shaking.lsp.rpc import RefusedError, request
from precision_shaking.lsp.server import Server
from precision_shaking.sape import wire
from precision_shaking.sape.vocabulary import Verdict

if TYPE_CHECKING:
    from precision_shaking.lsp.sessions import Session


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.ANSWER, protocol.AnswerParams)
    async def answer(params: protocol.AnswerParams) -> protocol.AnswerResult:
        return await give_answer(server, params)

    @request(server, protocol.HELP, protocol.HelpParams)
    async def help_on(params: protocol.HelpParams) -> protocol.Nothing:
        session = server.sessions.get(params.session)
        if params.script is not None:
            await solve(server, session, params.script)
            return protocol.Nothing()
        asked = session.help
        if asked is None:
            raise RefusedError("The session is not waiting for help.")
        await session.engine.help(wire.HelpParams(params.choice.value))
        # The next question may be there already, by an event that overtook the engine's answer.
        if session.help is asked:
            session.help = None
        return protocol.Nothing()


async def give_answer(server: Server, params: protocol.AnswerParams) -> protocol.AnswerResult:
    """Answer the pending proposal.

    Raises:
        RefusedError: There is no such proposal (any more), or nothing was said about it.
        EngineError: The engine is gone.
    """
    session = server.sessions.get(params.session)
    pending = session.pending
    if pending is None or pending.attempt != params.attempt:
        raise RefusedError("This proposal is outdated; answer the newest one.")
    if session.answering:
        raise RefusedError("This proposal is being answered already.")
    words = params.words.strip()
    if params.verdict is None and not words:
        raise RefusedError("Press a button or say something about the proposal.")
    session.answering = True
    try:
        return await _pass_on(server, session, pending, params, words)
    finally:
        session.answering = False


async def _pass_on(
    server: Server, session: Session, pending: Pending, params: protocol.AnswerParams, words: str
) -> protocol.AnswerResult:
    shown = as_left(session, pending, params)
    if params.verdict is Verdict.ACCEPTED:
        why_not = await accept(server, session, pending, words, shown)
        if why_not:
            show(server, session)
            return protocol.AnswerResult(False, why_not)
        _answered(session, pending)
        return protocol.AnswerResult(True)
    verdict = params.verdict.value if params.verdict else None
    amended = shown if shown != pending.proposed else None
    await session.engine.answer(wire.AnswerParams(pending.attempt, verdict, words, amended))
    _answered(session, pending)
    return protocol.AnswerResult(False)


def _answered(session: Session, pending: Pending) -> None:
    # The next proposal may be there already, by an event that overtook the engine's answer.
    if session.pending is pending:
        session.pending = None
