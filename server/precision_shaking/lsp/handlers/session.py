"""Starting and stopping sessions."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pygls.exceptions import JsonRpcException
from pygls.uris import to_fs_path

from precision_shaking.lsp import protocol
from precision_shaking.lsp.codec import WireFormatError, from_wire
from precision_shaking.lsp.following import follow
from precision_shaking.lsp.rpc import RefusedError, request
from precision_shaking.lsp.server import Server
from precision_shaking.lsp.sessions import Session
from precision_shaking.sape import wire
from precision_shaking.sape.events import SessionEvent
from precision_shaking.sape.process import EngineProcess
from precision_shaking.settings import Settings, split_teacher

# Models that run in the engine itself: there is nobody to show a key to.
_KEYLESS = "embedded/"


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
        workspace = _workspace(params.uri)
        name = await asyncio.to_thread(
            _instance, params.instance, settings.instance, document.language_id, workspace
        )
        teachers = await _teachers(server, settings)
        document = server.document(params.uri)
        return await _begin(
            server,
            wire.StartParams(
                document=document.uri,
                script=document.text,
                request=params.request.strip(),
                teachers=teachers,
                language=document.language_id or "",
                db=str(settings.database) if settings.database else None,
                max_attempts=settings.max_attempts,
                execute=settings.execute,
                instance=name,
                workspace=str(workspace) if workspace else None,
            ),
        )
    finally:
        server.sessions.release(params.uri)


async def _begin(server: Server, start: wire.StartParams) -> Session:
    events: asyncio.Queue[SessionEvent] = asyncio.Queue()
    engine = await EngineProcess.start(events.put_nowait)
    try:
        uid = await engine.begin(start)
    except BaseException:
        # Cancelled or refused: an engine that nobody knows must not stay.
        engine.kill()
        raise
    session = Session(uid, start.document, start.request, start.script, engine)
    server.sessions.add(session)
    server.run_task(follow(server, session, events), "follow a session")
    return session


def _workspace(uri: str) -> Path | None:
    """The folder that a document belongs to; None for one without a file."""
    from precision_shaking.sape.instances.workspace import workspace_of

    path = to_fs_path(uri) if uri.startswith("file:") else None
    return workspace_of([Path(path)]) if path else None


def _instance(name: str | None, preferred: str, language: str, workspace: Path | None) -> str:
    """The name of the instance that a session on this document is of."""
    # Not at the top: a server that starts has no use for them and is in a hurry.
    from precision_shaking.sape.instances.catalogue import choose
    from precision_shaking.sape.instances.loading import DeclarationError

    try:
        instance = choose(name, preferred, language, workspace)
    except DeclarationError as error:
        raise RefusedError(str(error)) from error
    if instance.document.several:
        raise RefusedError(
            f"The instance {instance.name} changes several files, which works on the command line only: "
            f"precision-shaking run --instance {instance.name}."
        )
    return instance.name


async def _teachers(server: Server, settings: Settings) -> tuple[wire.TeacherAccess, ...]:
    """The pool, with the keys that the user keeps in the editor."""
    pool = []
    for text in settings.teachers:
        name, base_url = split_teacher(text)
        asks = settings.client_commands and not name.startswith(_KEYLESS)
        pool.append(wire.TeacherAccess(name, base_url, await _key(server, text) if asks else None))
    return tuple(pool)


async def _key(server: Server, teacher: str) -> str | None:
    try:
        answer = await server.ask(protocol.API_KEY, protocol.ApiKeyParams(teacher))
        return from_wire(answer, protocol.ApiKeyResult).key
    except (WireFormatError, JsonRpcException):
        # Never repeat what was answered: it may be the key in the wrong place.
        raise RefusedError(f"The editor did not say which key belongs to {teacher}; set it again.") from None
