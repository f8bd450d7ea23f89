"""Choosing what a session is, starting and stopping it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from precision_shaking.lsp import protocol
from precision_shaking.lsp.choosing import fitting, instance_for, workspace_of_document
from precision_shaking.lsp.launching import key_of, launch
from precision_shaking.lsp.resuming import offer_again
from precision_shaking.lsp.rpc import RefusedError, request
from precision_shaking.lsp.server import Server
from precision_shaking.lsp.sessions import Session
from precision_shaking.sape import wire
from precision_shaking.settings import Settings, split_teacher

if TYPE_CHECKING:
    from precision_shaking.sape.instances.declaration import Instance


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.INSTANCES, protocol.InstancesParams)
    async def instances(params: protocol.InstancesParams) -> protocol.InstancesResult:
        return protocol.InstancesResult(await _offered(server, params.uri))

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
        instance = await asyncio.to_thread(
            instance_for, params.instance, settings.instance, document.language_id, workspace
        )
        teachers = await _teachers(server, settings)
        document = server.document(params.uri)
        script = document.text
        if instance.document.several:
            workspace, script = _text_of_several(server, instance, params)
        start = wire.StartParams(
            document=document.uri,
            script=script,
            request=params.request.strip(),
            teachers=teachers,
            language=document.language_id or "",
            db=str(settings.database) if settings.database else None,
            max_attempts=settings.max_attempts,
            max_whole_lines=settings.max_whole_lines,
            execute=settings.execute,
            instance=instance.name,
            workspace=str(workspace) if workspace else None,
            scorer=settings.scorer,
        )

        return await launch(server, lambda engine: engine.begin(start), offer_again)
    finally:
        server.sessions.release(params.uri)


async def _offered(server: Server, uri: str) -> tuple[protocol.OfferedInstance, ...]:
    # Not at the top: a server that starts has no use for it and is in a hurry.
    from precision_shaking.lsp.several import open_files

    document, settings = server.document(uri), await server.settings_now()
    language, workspace = document.language_id or "", workspace_of_document(uri)
    entries = await asyncio.to_thread(fitting, settings.instance, language, workspace)
    return tuple(
        protocol.OfferedInstance(
            entry.instance.name,
            entry.instance.title,
            entry.source,
            tuple(open_files(server, entry.instance, uri)),
        )
        for entry in entries
    )


def _text_of_several(
    server: Server, instance: Instance, params: protocol.StartSessionParams
) -> tuple[Path, str]:
    """The folder of a session on several files, and the text it begins with."""
    # See `_offered`.
    from precision_shaking.lsp.several import beginning

    place, text = beginning(server, instance, params.uri, params.files)
    return place.root, text


async def _teachers(server: Server, settings: Settings) -> tuple[wire.TeacherAccess, ...]:
    """The pool, the user's own model before it, with the keys that they keep in the editor."""
    pool: list[wire.TeacherAccess] = []
    for text in filter(None, (settings.worker, *settings.teachers)):
        name, base_url = split_teacher(text)
        key = await key_of(server, text)
        # By its place: the same model may be a teacher of the others, too.
        own = settings.worker is not None and not pool
        pool.append(wire.TeacherAccess(name, base_url, key, worker_only=own))
    return tuple(pool)
