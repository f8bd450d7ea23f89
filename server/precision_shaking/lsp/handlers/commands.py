"""Server commands, for editors that have no client of ours.

A command only triggers: cancelling one does not stop it, so whatever takes time runs on its own and says
itself how it went.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pygls.exceptions import JsonRpcInvalidParams

from precision_shaking.lsp import dialogs, resuming
from precision_shaking.lsp.handlers.feedback import give_answer
from precision_shaking.lsp.handlers.session import start_session
from precision_shaking.lsp.handlers.training import train
from precision_shaking.lsp.protocol import AnswerParams, StartSessionParams, StartTrainingParams
from precision_shaking.lsp.server import Server
from precision_shaking.sape.vocabulary import Verdict

PREFIX = "precisionShaking.server."


def register(server: Server) -> None:
    """Register this room's commands."""

    async def start(uri: str, request: str = "") -> None:
        if request:
            await start_session(server, StartSessionParams(uri, request))
        else:
            await dialogs.ask_for_request(server, uri)

    def answer(verdict: Verdict) -> Callable[..., Awaitable[None]]:
        async def command(session: str, words: str = "") -> None:
            await _answer(server, session, verdict, words)

        return command

    async def feedback(session: str, words: str = "") -> None:
        if words:
            await _answer(server, session, None, words)
        elif pending := server.sessions.get(session).pending:
            await dialogs.show_proposal(server, server.sessions.get(session), pending)

    async def show_proposal(session: str) -> None:
        asked = server.sessions.get(session)
        if asked.help is not None:
            await dialogs.ask_for_help(server, asked, asked.help)
        elif asked.pending is not None:
            await dialogs.show_proposal(server, asked, asked.pending)

    async def stop(session: str) -> None:
        await server.sessions.get(session).engine.stop()

    async def resume(session: str) -> None:
        await resuming.resume(server, session)

    async def abandon(session: str) -> None:
        await resuming.abandon(server, session)

    async def training() -> None:
        result = await train(server, StartTrainingParams())
        server.say(f"The training is {result.status}; the student is in {Path(result.output).name}.")

    _register(server, "start", start, 1, 2)
    _register(server, "accept", answer(Verdict.ACCEPTED), 1, 1)
    _register(server, "redo", answer(Verdict.REDO), 1, 2)
    _register(server, "furtherEdit", answer(Verdict.FURTHER_EDIT), 1, 2)
    _register(server, "feedback", feedback, 1, 2)
    _register(server, "showProposal", show_proposal, 1, 1)
    _register(server, "stop", stop, 1, 1)
    _register(server, "resume", resume, 1, 1)
    _register(server, "abandon", abandon, 1, 1)
    _register(server, "train", training, 0, 0)


async def _answer(server: Server, uid: str, verdict: Verdict | None, words: str) -> None:
    pending = server.sessions.get(uid).pending
    result = await give_answer(server, AnswerParams(uid, pending.attempt if pending else "", verdict, words))
    if result.message:
        server.say(result.message)


def _register(server: Server, name: str, work: Callable[..., Any], least: int, most: int) -> None:
    """Register a command that takes between `least` and `most` texts."""

    @server.command(PREFIX + name)
    async def trigger(*arguments: Any) -> None:
        if not least <= len(arguments) <= most or not all(isinstance(text, str) for text in arguments):
            raise JsonRpcInvalidParams(f"{PREFIX}{name} takes {least} to {most} texts.")
        server.run_task(work(*arguments), name)
