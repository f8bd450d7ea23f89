"""Starting an engine for a session, new or resumed, and following it from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pygls.exceptions import JsonRpcException

from precision_shaking.lsp import protocol
from precision_shaking.lsp.codec import WireFormatError, from_wire
from precision_shaking.lsp.following import Offer, follow
from precision_shaking.lsp.places import OneDocument, Place
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.lsp.sessions import Session
from precision_shaking.sape import wire
from precision_shaking.sape.events import SessionEvent
from precision_shaking.sape.process import EngineProcess

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

# Models that run in the engine itself: there is nobody to show a key to.
_KEYLESS = "embedded/"


async def launch(
    server: Server, begin: Callable[[EngineProcess], Awaitable[wire.StartResult]], offer: Offer
) -> Session:
    """Start an engine, have it begin or resume a session, and follow that.

    Args:
        server: Whose session it is.
        begin: Has the engine begin or resume.
        offer: Asks the user about resuming the session when it breaks off.

    Raises:
        EngineError: It could not start, or refused.
    """
    events: asyncio.Queue[SessionEvent] = asyncio.Queue()
    engine = await EngineProcess.start(events.put_nowait)
    try:
        began = await begin(engine)
    except BaseException:
        # Cancelled or refused: an engine that nobody knows must not stay.
        engine.kill()
        raise
    session = Session(began.session, began.document, began.request, began.script, engine, _place(began))
    server.sessions.add(session)
    server.run_task(follow(server, session, events, offer), "follow a session")
    return session


def _place(began: wire.StartResult) -> Place:
    if began.writes is None or began.workspace is None:
        return OneDocument(began.document)
    # Not at the top: most editors never need it, and all wait for the server to start.
    from precision_shaking.lsp.several import SeveralFiles
    from precision_shaking.sape.instances.documents import SeveralFiles as Files

    return SeveralFiles(Path(began.workspace), Files(writes=began.writes))


async def key_of(server: Server, teacher: str) -> str | None:
    """The key that the user keeps in the editor for a teacher; None when there is none or none is needed.

    Raises:
        RefusedError: The editor's answer makes no sense.
    """
    if not server.settings.client_commands or teacher.startswith(_KEYLESS):
        return None
    try:
        answer = await server.ask(protocol.API_KEY, protocol.ApiKeyParams(teacher))
        return from_wire(answer, protocol.ApiKeyResult).key
    except (WireFormatError, JsonRpcException):
        # Never repeat what was answered: it may be the key in the wrong place.
        raise RefusedError(f"The editor did not say which key belongs to {teacher}; set it again.") from None
