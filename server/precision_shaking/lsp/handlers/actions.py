"""Code actions: what can be done on this document now, in every editor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lsprotocol import types
from pygls.uris import to_fs_path

from precision_shaking.lsp.handlers.commands import PREFIX
from precision_shaking.lsp.server import Server
from precision_shaking.lsp.sessions import Session

# The commands of a client that has its own dialogs.
_CLIENT_PREFIX = "precisionShaking."
_KIND = types.CodeActionKind.RefactorRewrite

_START = ("Precision Shaking: change this script…", "start")
_STOP = ("Stop the session", "stop")
# Putting the question off leaves it open.
_STUCK = (("Choose how to go on…", "showProposal"), _STOP)
_ANSWERS = (
    ("Accept the proposed edit", "accept"),
    ("Redo…", "redo"),
    ("Further edit…", "furtherEdit"),
    ("Give feedback…", "feedback"),
    _STOP,
)
# Only other editors are told here: VS Code's client asks its user itself.
_UNFINISHED = (
    ("Resume the session that broke off", "resume"),
    ("Abandon the session that broke off", "abandon"),
)


def register(server: Server) -> None:
    """Register this room's handlers."""

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions([_KIND]))
    def actions(params: types.CodeActionParams) -> list[types.CodeAction]:
        if not _wanted(params.context.only):
            return []
        uri = params.text_document.uri
        session = _session(server, uri)
        waiting = server.waiting.get(uri)
        offered = [(_START, uri)]
        if session is not None:
            offered = [(action, session.uid) for action in _offered(session)]
        elif waiting is not None:
            ways = [way for way in _UNFINISHED if way[1] != "resume" or not waiting.problem]
            offered += [(action, waiting.session) for action in ways]
        prefix = _CLIENT_PREFIX if server.settings.client_commands else PREFIX
        return [_action(title, prefix + name, argument) for (title, name), argument in offered]


def _offered(session: Session) -> Sequence[tuple[str, str]]:
    if session.help is not None:
        return _STUCK
    return _ANSWERS if session.pending else [_STOP]


def _session(server: Server, uri: str) -> Session | None:
    """The session on this document, or the one that this page of ours is about."""
    path = to_fs_path(uri)
    meaning = server.feedback_files.meaning(Path(path)) if path else None
    if meaning and meaning[0] != "request":
        return next((session for session in server.sessions if session.uid == meaning[1]), None)
    return server.sessions.of(server.workspace.get_text_document(uri).uri)


def _wanted(only: Sequence[types.CodeActionKind | str] | None) -> bool:
    """Whether our kind is among the wanted ones; a wanted kind includes its sub-kinds."""
    ours = _KIND.value
    wanted = [getattr(kind, "value", kind) for kind in only or [ours]]
    return any(not kind or ours == kind or ours.startswith(kind + ".") for kind in wanted)


def _action(title: str, command: str, argument: str) -> types.CodeAction:
    # One plain argument: some editors lose richer ones once the list of actions is gone.
    return types.CodeAction(title, kind=_KIND, command=types.Command(title, command, arguments=[argument]))
