"""Correcting what was read from the user's words: by the engine or, once that is gone, in the dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from precision_shaking.lsp.dataset import run_dorpo
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape import wire
from precision_shaking.sape.events import FeedbackRead
from precision_shaking.sape.process import EngineError
from precision_shaking.sape.vocabulary import Verdict

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

_WORDS = {Verdict.ACCEPTED: "accepted", Verdict.REDO: "redo", Verdict.FURTHER_EDIT: "further edit"}


async def correct(server: Server, session: str, attempt: str, verdict: Verdict) -> bool:
    """Make this the user's verdict on an attempt, in the dataset.

    Returns:
        Whether the session still runs, and so goes on as it is.

    Raises:
        RefusedError: There is no such attempt, or nothing was said about it.
    """
    try:
        await server.sessions.get(session).engine.correct(wire.CorrectParams(attempt, verdict.value))
    except (RefusedError, EngineError):
        # An engine ends with its session, perhaps at this moment; one that refuses is not overruled here,
        # because the dataset refuses the same.
        await run_dorpo(server, "relabel", attempt, verdict.value)
        return False
    return True


async def offer(server: Server, session: str, event: FeedbackRead) -> None:
    """Say how the words were read, with a button for each other way; no answer leaves it at that."""
    others = {word: verdict for verdict, word in _WORDS.items() if verdict != event.verdict}
    chosen = await server.window_show_message_request_async(
        types.ShowMessageRequestParams(
            types.MessageType.Info,
            f"Read as: {_WORDS[Verdict(event.verdict)]}.",
            [types.MessageActionItem(f"No: {word}") for word in others],
        )
    )
    verdict = others.get(chosen.title.removeprefix("No: ")) if chosen else None
    if verdict is None:
        return
    runs = await correct(server, session, event.attempt, verdict)
    goes_on = " The session itself goes on as it was read." if runs else ""
    server.say(f"Noted as {_WORDS[verdict]} in your dataset.{goes_on}")
