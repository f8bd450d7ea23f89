"""What editors say about documents: a change may be an awaited edit, a save may be an answer."""

from __future__ import annotations

from pathlib import Path

from lsprotocol import types
from pygls.uris import to_fs_path

from precision_shaking.lsp import feedback_file
from precision_shaking.lsp.by_hand import solve
from precision_shaking.lsp.documents import normalise
from precision_shaking.lsp.handlers.feedback import give_answer
from precision_shaking.lsp.handlers.session import start_session
from precision_shaking.lsp.protocol import AnswerParams, StartSessionParams
from precision_shaking.lsp.resuming import offer_on
from precision_shaking.lsp.server import Server


def register(server: Server) -> None:
    """Register this room's handlers."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        _look(server, params.text_document.uri)
        offer_on(server, params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        _look(server, params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    async def saved(params: types.DidSaveTextDocumentParams) -> None:
        path = to_fs_path(params.text_document.uri)
        meaning = server.feedback_files.meaning(Path(path)) if path else None
        if path and meaning:
            server.run_task(_read_page(server, Path(path), *meaning), "read the saved page")


def _look(server: Server, uri: str) -> None:
    document = server.workspace.get_text_document(uri)
    server.watch.changed(document.uri, normalise(document.source))


async def _read_page(server: Server, path: Path, kind: str, about: str) -> None:
    """Take what the user wrote as their change request, their answer or their own solution of a step."""
    if kind == "by_hand":
        await solve(server, server.sessions.get(about), feedback_file.script_in(path))
        server.feedback_files.forget(path)
        return
    words = feedback_file.words_in(path)
    if not words:
        return
    if kind == "request":
        await start_session(server, StartSessionParams(about, words))
        server.feedback_files.forget(path)
        return
    session = server.sessions.get(about)
    attempt = session.pending.attempt if session.pending else ""
    verdict = feedback_file.button_of(words)
    server.feedback_files.forget(path)
    result = await give_answer(server, AnswerParams(about, attempt, verdict, "" if verdict else words))
    if result.message:
        server.say(result.message)
