"""Starting and stopping sessions."""

from __future__ import annotations

import asyncio

from precision_shaking.lsp import protocol
from precision_shaking.lsp.choosing import instance_for, workspace_of_document
from precision_shaking.lsp.launching import key_of, launch
from precision_shaking.lsp.resuming import offer
from precision_shaking.lsp.rpc import RefusedError, request
from precision_shaking.lsp.server import Server
from precision_shaking.lsp.sessions import Session
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineProcess
from precision_shaking.settings import Settings, split_teacher


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.START_SESSION, protocol.StartSessionParams)
    async def start(params: protocol.StartSessionParams) -> protocol.StartSessionResult:
        return protocol.StartSessionResult((await start_session(server, params)).uid)

    @request(server, protocol.STOP_SESSION, protocol.StopSessionParams)
    async def stop(params: protocol.StopSessionParams) -> protocol.Nothing:
        await server.sessions.get(params.session).engine.stop()
        return protocol.Nothing()


async def start_session(server: Server, params: protocol.StartSessionParams) -> Session:
    """Start an engine and its session on an open document.

    Raises:
        RefusedError: The document cannot have one, or has one already.
        EngineError: The engine could not start.
    """
    document = server.document(params.uri)
    if not document.text.strip():
        raise RefusedError("The document is empty; write a first line, then say what should change.")
    if not document.language_id:
        raise RefusedError("The document has no language yet; choose one in the editor and try again.")
    if not params.request.strip():
        raise RefusedError("The change request is empty; say what should change.")
    server.sessions.reserve(params.uri)
    try:
        settings = await server.settings_now()
        workspace = workspace_of_document(params.uri)
        name = await asyncio.to_thread(
            instance_for, params.instance, settings.instance, document.language_id, workspace
        )
        teachers = await _teachers(server, settings)
        document = server.document(params.uri)
        start = wire.StartParams(
            document=document.uri,
            script=document.text,
            request=params.request.strip(),
            teachers=teachers,
            language=document.language_id or "",
            db=str(settings.database) if settings.database else None,
            max_attempts=settings.max_attempts,
            max_whole_lines=settings.max_whole_lines,
            execute=settings.execute,
            instance=name,
            workspace=str(workspace) if workspace else None,
        )

        async def begin(engine: EngineProcess) -> wire.StartResult:
            return wire.StartResult(await engine.begin(start), start.document, start.request, start.script)

        return await launch(server, begin, offer)
    finally:
        server.sessions.release(params.uri)


async def _teachers(server: Server, settings: Settings) -> tuple[wire.TeacherAccess, ...]:
    """The pool, with the keys that the user keeps in the editor."""
    pool = []
    for text in settings.teachers:
        name, base_url = split_teacher(text)
        pool.append(wire.TeacherAccess(name, base_url, await key_of(server, text)))
    return tuple(pool)
