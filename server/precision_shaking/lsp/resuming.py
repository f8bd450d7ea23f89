"""Sessions that broke off: found in the dataset, gone on with on the user's word, or given up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve
from lsprotocol import types
from pygls.uris import to_fs_path

from precision_shaking.lsp.dataset import run_module
from precision_shaking.lsp.launching import key_of, launch
from precision_shaking.lsp.protocol_resuming import OpenSession
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineProcess

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server
    from precision_shaking.lsp.sessions import Session

_RESUME, _ABANDON, _LATER = "Resume", "Abandon", "Later"
_ANY: Sequence[str] = (_RESUME, _ABANDON, _LATER)


async def open_sessions(server: Server) -> tuple[OpenSession, ...]:
    """The sessions that wait to be resumed, the newest first.

    Raises:
        RefusedError: The dataset cannot be read.
    """
    return await _listed(server)


async def resume(server: Server, uid: str) -> Session:
    """Go on with a session, on its open document.

    Raises:
        RefusedError: It cannot be resumed, or its document is not open.
        EngineError: The engine could not start.
    """
    (found,) = await _listed(server, uid)
    server.document(found.uri)
    server.sessions.reserve(found.uri)
    try:
        settings = await server.settings_now()
        keys = {text: await key_of(server, text) for text in found.teachers}
        params = wire.ResumeParams(
            session=uid,
            api_keys={text: key for text, key in keys.items() if key is not None},
            db=str(settings.database) if settings.database else None,
            execute=settings.execute,
        )

        async def begin(engine: EngineProcess) -> wire.StartResult:
            # As the editor writes it: the command line names files by their paths.
            return evolve(await engine.resume(params), document=found.uri)

        session = await launch(server, begin, offer_again)
    finally:
        server.sessions.release(found.uri)
    server.waiting.pop(found.uri, None)
    return session


async def abandon(server: Server, uid: str) -> None:
    """Give up a session that waits to be resumed.

    Raises:
        RefusedError: There is none, or it is running.
    """
    await run_module(server, "precision_shaking", "abandon", uid)
    for uri, session in tuple(server.waiting.items()):
        if session.session == uid:
            del server.waiting[uri]


async def look(server: Server) -> None:
    """Find out which documents have a session that waits, for an editor without a client of ours."""
    with contextlib.suppress(RefusedError):
        # Whoever starts a session is told what is wrong with the dataset.
        for session in reversed(await open_sessions(server)):
            server.waiting[session.uri] = session
    for uri in tuple(server.workspace.text_documents):
        offer_on(server, uri)


def offer_on(server: Server, uri: str) -> None:
    """Offer the session that waits on a document, once."""
    session = server.waiting.get(uri)
    if session is None or session.session in server.offered:
        return
    server.offered.add(session.session)
    place, step = f"The session on {Path(to_fs_path(uri) or uri).name}", "its plan"
    if session.steps:
        step = f"step {session.step + 1}/{session.steps}"
    question, titles = f"{place} stopped at {step}. Resume?", _ANY
    if session.problem:
        question, titles = f"{place} broke off. {session.problem}", _ANY[1:]
    server.run_task(offer(server, session.session, question, titles), "offer to resume a session")


async def offer_again(server: Server, uid: str, why: str) -> None:
    """Offer a session that broke off just now; put off, it waits as those of an earlier editor do."""
    server.offered.add(uid)
    await look(server)
    await offer(server, uid, why)


async def offer(server: Server, uid: str, question: str, titles: Sequence[str] = _ANY) -> None:
    """Ask whether to go on with a session; no answer leaves it waiting."""
    buttons = [types.MessageActionItem(title) for title in titles]
    chosen = await server.window_show_message_request_async(
        types.ShowMessageRequestParams(types.MessageType.Info, question, buttons)
    )
    if chosen is not None and chosen.title == _RESUME:
        await resume(server, uid)
    elif chosen is not None and chosen.title == _ABANDON:
        await abandon(server, uid)


async def _listed(server: Server, *uid: str) -> tuple[OpenSession, ...]:
    listed = json.loads(await run_module(server, "precision_shaking", "sessions", "--json", *uid))
    return tuple(
        OpenSession(
            session=item["session"],
            uri=_uri(item["document"]),
            request=item["request"],
            created_at=item["created_at"],
            step=item["step"],
            steps=item["steps"],
            text=item["text"],
            teachers=tuple(item["teachers"]),
            problem=item["problem"],
        )
        for item in listed["sessions"]
    )


def _uri(document: str) -> str:
    """The document's URI; the command line names files by their paths."""
    path = Path(document)
    return path.as_uri() if path.is_absolute() else document
