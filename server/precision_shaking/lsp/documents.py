"""Open documents as the protocol counts them, and the edits that bring one to a wanted text.

The library's documents split lines as Python does, at form feeds and Unicode separators too; editors do not.
A script with such a character would end up different on both sides, so positions are resolved here.
"""

from __future__ import annotations

import re

from attrs import frozen
from lsprotocol import types
from pygls.workspace import PositionCodec, TextDocument, Workspace

from precision_shaking.merge import opcodes, split

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_EOL = re.compile(r"\r\n|\r|\n")


class Document(TextDocument):
    """A document whose lines end where the protocol says they do."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines with their ends."""
        return tuple(_LINE.findall(self.source))

    @property
    def text(self) -> str:
        """The text with every line ended by a newline, as engine and models see it."""
        return normalise(self.source)

    def apply_change(self, change: types.TextDocumentContentChangeEvent) -> None:
        """Apply what the editor says has changed."""
        if not isinstance(change, types.TextDocumentContentChangePartial):
            self._source = change.text
            return
        source, lines = self.source, self.lines
        start = self._offset(lines, change.range.start)
        end = self._offset(lines, change.range.end)
        self._source = source[:start] + change.text + source[end:]

    def _offset(self, lines: tuple[str, ...], position: types.Position) -> int:
        """The index of a position; one beyond the end of its line means the end of the line."""
        before = sum(len(line) for line in lines[: position.line])
        if position.line >= len(lines):
            return before
        units = 0
        content = lines[position.line].rstrip("\r\n")
        for index, character in enumerate(content):
            if units >= position.character:
                return before + index
            units += self.position_codec.client_num_units(character)
        return before + len(content)


class Documents(Workspace):
    """The open documents."""

    @classmethod
    def in_place_of(cls, other: Workspace) -> Documents:
        """The same workspace, before any document was opened."""
        folders = list(other.folders.values())
        kind = types.TextDocumentSyncKind.Incremental
        return cls(other.root_uri, kind, folders, other.position_encoding)

    def _create_text_document(
        self,
        doc_uri: str,
        source: str | None = None,
        version: int | None = None,
        language_id: str | None = None,
    ) -> TextDocument:
        return Document(doc_uri, source, version, language_id, position_codec=self.position_codec)


@frozen
class Plan:
    """Edits, and the document's source once they have been applied."""

    edits: tuple[types.TextEdit, ...]
    expected: str


def normalise(text: str) -> str:
    """The text with every line ended by a newline."""
    return _EOL.sub("\n", text)


def plan_edits(source: str, wanted: str, codec: PositionCodec) -> Plan:
    """The line edits that turn a document into a text.

    Args:
        source: The document as it is. Lines that stay keep their own ends; new ones get the document's usual.
        wanted: The text to reach, lines ended by newlines.
        codec: How the client counts characters.
    """
    raw = _LINE.findall(source)
    eol = _usual_eol(source)
    old, new = [normalise(line) for line in raw], split(wanted)
    edits: list[types.TextEdit] = []
    expected: list[str] = []
    position = 0
    for i1, i2, j1, j2 in opcodes(old, new):
        text = "".join(new[j1:j2]).replace("\n", eol)
        edits.append(
            types.TextEdit(types.Range(_line_start(raw, i1, codec), _line_start(raw, i2, codec)), text)
        )
        expected += [*raw[position:i1], text]
        position = i2
    expected += raw[position:]
    plan = Plan(tuple(edits), "".join(expected))
    if normalise(plan.expected) == wanted:
        return plan
    # A kept lone \r met a new \n and became one line end.
    everything = types.Range(types.Position(0, 0), _line_start(raw, len(raw), codec))
    text = wanted.replace("\n", eol)
    return Plan((types.TextEdit(everything, text),), text)


def _usual_eol(source: str) -> str:
    ends = _EOL.findall(source)
    return max(("\n", "\r\n", "\r"), key=ends.count)


def _line_start(lines: list[str], index: int, codec: PositionCodec) -> types.Position:
    """Where a line begins; the line after the last one begins where the document ends."""
    if index < len(lines) or not lines or lines[-1].endswith(("\n", "\r")):
        return types.Position(index, 0)
    return types.Position(len(lines) - 1, codec.client_num_units(lines[-1]))
