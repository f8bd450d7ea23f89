"""One edit of the editor over all files that change, and seeing that it arrived.

Editors answer `applied: true` to edits they dropped, so the answer proves nothing: the edit counts when every
changed document comes back, or every changed file lies there, with the expected text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from lsprotocol import types
from pygls.capabilities import get_capability
from pygls.exceptions import JsonRpcException

from precision_shaking.lsp.documents import normalise
from precision_shaking.lsp.places import BOM, Live, path_of

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

# Editors delay change notifications while a user types, some by 150 ms.
_VERIFY_SECONDS = 2.0


@define
class Watch:
    """Lets someone wait until a document has a certain text."""

    _waiting: dict[str, list[tuple[str, asyncio.Future[None]]]] = field(factory=dict)

    @contextmanager
    def expect(self, uri: str, text: str) -> Iterator[asyncio.Future[None]]:
        """A future that is done as soon as the document has this text (lines ended by newlines)."""
        place = _place(uri)
        entry = (text, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(place, []).append(entry)
        try:
            yield entry[1]
        finally:
            self._waiting[place].remove(entry)
            if not self._waiting[place]:
                del self._waiting[place]

    def changed(self, uri: str, text: str) -> None:
        """The document has this text now."""
        for expected, arrived in self._waiting.get(_place(uri), ()):
            if expected == text and not arrived.done():
                arrived.set_result(None)


def _place(uri: str) -> str:
    # Editors write the same URI in more than one way; a file that they open only now comes with theirs.
    return path_of(uri) or uri


@frozen
class Change:
    """One file's part of an edit.

    Attributes:
        expected: What the file then holds, lines ended by newlines.
    """

    name: str
    live: Live
    edits: tuple[types.TextEdit, ...]
    expected: str


async def apply(server: Server, changes: Sequence[Change], label: str) -> str:
    """Ask the editor for one edit of all files; why it did not happen, or nothing when it did."""
    refusal = _unable(server, changes)
    if refusal:
        return refusal
    edit = types.ApplyWorkspaceEditParams(_workspace_edit(server, changes), label)
    with ExitStack() as watching:
        arriving = {
            change.name: watching.enter_context(server.watch.expect(change.live.uri, change.expected))
            for change in changes
        }
        try:
            result = await server.workspace_apply_edit_async(edit)
        except JsonRpcException as error:
            return f"The editor could not apply the edit: {error.message}."
        if not result.applied:
            reason = f": {result.failure_reason}" if result.failure_reason else ""
            return f"The editor refused the edit{reason}."
        awaited = [arriving[change.name] for change in changes if not _lies_there(change)]
        if awaited:
            await asyncio.wait(awaited, timeout=_VERIFY_SECONDS)
        missing = [c for c in changes if not arriving[c.name].done() and not _lies_there(c)]
    names = [PurePath(path_of(change.live.uri) or change.live.uri).name for change in missing]
    return f"The editor did not apply the edit to {listed(names)}." if names else ""


def _lies_there(change: Change) -> bool:
    """Whether a file that was not open has its text on the disk, where some editors write it at once."""
    path = path_of(change.live.uri) if change.live.version is None else None
    if path is None:
        return False
    try:
        found = Path(path).read_bytes().decode("utf-8").removeprefix(BOM)
    except (OSError, UnicodeDecodeError):
        return False
    return normalise(found) == change.expected


def _unable(server: Server, changes: Sequence[Change]) -> str:
    """Why this editor cannot be asked for such an edit; empty when it can."""
    if not get_capability(server.client_capabilities, "workspace.apply_edit", False):
        return "This editor does not let a language server edit documents."
    new = [change.name for change in changes if not change.live.exists]
    if new and types.ResourceOperationKind.Create not in _operations(server):
        return f"This editor does not let a language server create files: create {listed(new)}, then accept."
    return ""


def _operations(server: Server) -> Sequence[types.ResourceOperationKind]:
    known = get_capability(server.client_capabilities, "workspace.workspace_edit.resource_operations", None)
    return known or () if _takes_versions(server) else ()


def _takes_versions(server: Server) -> bool:
    return bool(
        get_capability(server.client_capabilities, "workspace.workspace_edit.document_changes", False)
    )


def _workspace_edit(server: Server, changes: Sequence[Change]) -> types.WorkspaceEdit:
    if not _takes_versions(server):
        return types.WorkspaceEdit(changes={change.live.uri: change.edits for change in changes})
    steps: list[types.CreateFile | types.TextDocumentEdit] = []
    for change in changes:
        live = change.live
        if not live.exists:
            steps.append(types.CreateFile(live.uri))
        if change.edits:
            target = types.OptionalVersionedTextDocumentIdentifier(live.uri, live.version)
            steps.append(types.TextDocumentEdit(target, change.edits))
    return types.WorkspaceEdit(document_changes=steps)


def listed(names: Sequence[str]) -> str:
    """These names in a sentence."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
