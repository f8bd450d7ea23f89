"""Writing a text into an open document, and seeing that it arrived.

Editors answer `applied: true` to edits they dropped, so the answer proves nothing: the edit counts when the
changed document comes back with the expected text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import define, field, frozen
from lsprotocol import types
from pygls.capabilities import get_capability
from pygls.exceptions import JsonRpcException

from precision_shaking.lsp.documents import normalise, plan_edits
from precision_shaking.lsp.merge import merge

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

# Editors delay change notifications while a user types, some by 150 ms.
_VERIFY_SECONDS = 2.0
# The document may change between our reading it and the editor's applying the edit: then once more.
_TRIES = 3


@frozen
class Written:
    """The document holds `text` now."""

    text: str


@frozen
class NotWritten:
    """The document does not hold the text.

    Attributes:
        why: One sentence for the user.
        live: What the document holds.
        merged: What it would hold; where both sides changed the same lines, the proposal's.
    """

    why: str
    live: str
    merged: str


@define
class Watch:
    """Lets someone wait until a document has a certain text."""

    _waiting: dict[str, list[tuple[str, asyncio.Future[None]]]] = field(factory=dict)

    @contextmanager
    def expect(self, uri: str, text: str) -> Iterator[asyncio.Future[None]]:
        """A future that is done as soon as the document has this text (lines ended by newlines)."""
        entry = (text, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(uri, []).append(entry)
        try:
            yield entry[1]
        finally:
            self._waiting[uri].remove(entry)
            if not self._waiting[uri]:
                del self._waiting[uri]

    def changed(self, uri: str, text: str) -> None:
        """The document has this text now."""
        for expected, arrived in self._waiting.get(uri, ()):
            if expected == text and not arrived.done():
                arrived.set_result(None)


async def bring_in(server: Server, uri: str, base: str, wanted: str, label: str) -> Written | NotWritten:
    """Bring the changes base → wanted into the document, as one edit and one step of its undo history.

    Args:
        server: Whose document it is.
        uri: The document.
        base: The common ancestor of the wanted text and of what the document holds.
        wanted: The text to reach, unless the document was edited since: then the changes are merged.
        label: What the undo history calls it.

    Raises:
        RefusedError: The document is not open.
    """
    refusal = ""
    for _ in range(_TRIES):
        document = server.document(uri)
        merged = merge(base, document.text, wanted)
        if merged.conflicts:
            return NotWritten(
                "The document was changed in the same lines meanwhile.",
                document.text,
                merged.text,
            )
        plan = plan_edits(document.source, merged.text, document.position_codec)
        if not plan.edits:
            return Written(merged.text)
        version = document.version
        refusal = await _apply(server, uri, version, plan.edits, normalise(plan.expected), label)
        if not refusal:
            return Written(merged.text)
        if server.document(uri).version == version:
            break
    return NotWritten(refusal, server.document(uri).text, merged.text)


async def _apply(
    server: Server,
    uri: str,
    version: int | None,
    edits: tuple[types.TextEdit, ...],
    expected: str,
    label: str,
) -> str:
    """Ask the editor for the edit; why it did not happen, or nothing when it did."""
    if not get_capability(server.client_capabilities, "workspace.apply_edit", False):
        return "This editor does not let a language server edit documents."
    edit = types.ApplyWorkspaceEditParams(_workspace_edit(server, uri, version, edits), label)
    with server.watch.expect(uri, expected) as arrived:
        try:
            result = await server.workspace_apply_edit_async(edit)
        except JsonRpcException as error:
            return f"The editor could not apply the edit: {error.message}."
        if not result.applied:
            reason = f": {result.failure_reason}" if result.failure_reason else ""
            return f"The editor refused the edit{reason}."
        await asyncio.wait({arrived}, timeout=_VERIFY_SECONDS)
        if arrived.done():
            return ""
    return "The editor did not apply the edit: the document is as it was."


def _workspace_edit(
    server: Server, uri: str, version: int | None, edits: tuple[types.TextEdit, ...]
) -> types.WorkspaceEdit:
    if not get_capability(server.client_capabilities, "workspace.workspace_edit.document_changes", False):
        return types.WorkspaceEdit(changes={uri: edits})
    target = types.OptionalVersionedTextDocumentIdentifier(uri, version)
    return types.WorkspaceEdit(document_changes=[types.TextDocumentEdit(target, edits)])
