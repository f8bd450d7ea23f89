"""Reading answers in the marker format, whole or while they are being written.

The worker's answer is read by `dorpo.rendering`, as the dataset and the student do. Here are the other
agents' fields, the stream's, and the check that a script did not leave out what it was given.
"""

from __future__ import annotations

import json
import re

from attrs import define, field

_MARKER = re.compile(r"^[ \t]*\[\[ ## (\w+) ## \]\][ \t]*", re.MULTILINE)
# The worker's regions are fields too, each called "region" and its name.
_MARKER_LINE = re.compile(r"[ \t]*\[\[ ## (\w+|region \S[^\n]*?) ## \]\][ \t\r]*")
_MARKER_START = "[[ ## "
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.):]|step \d{1,3}[.:])[ \t]*", re.IGNORECASE)
# How small models begin a step: it says nothing, and hides that the steps are the same.
_ORDINAL = re.compile(
    r"^(?:the )?(?:first|second|third|fourth|next|last|final) step (?:is|would be) to ", re.IGNORECASE
)

# A comment, in any language a script may be written in.
_COMMENT = re.compile(r"^[ \t]*(?:#|//|/\*|--|<!--|;|%|\"\"\"|''')(.*)$")
_ELLIPSIS = re.compile(r"\.\.\.|…")
_LEFT_OUT = re.compile(
    r"\b(?:rest|remainder|remaining|existing|previous|original|other|your)\b.*"
    r"\b(?:code|script|file|functions?|methods?|lines?|imports?|implementation|logic|class|classes)\b"
    r"|\b(?:unchanged|omitted|unmodified|as before|same as (?:before|above|original))\b",
    re.IGNORECASE,
)
# Without an ellipsis, only these are certain; "read the rest of the file" is an honest comment.
_SURELY_LEFT_OUT = re.compile(
    r"^\W*(?:the )?(?:rest|remainder) of (?:the |your )?(?:code|script|file|functions?|class|implementation)"
    r"(?: (?:is|are|remains?|stays?|goes|here|unchanged|the same|omitted|below|as before))*\W*$"
    r"|^\W*(?:existing|unchanged|previous|original|other|remaining) code"
    r"(?: (?:here|goes here|unchanged))?\W*$"
    r"|^\W*code (?:is |remains )?(?:unchanged|omitted)\b",
    re.IGNORECASE,
)


def whole_characters(text: str) -> str:
    """The text with halves of characters (lone surrogates) joined or replaced: nothing can store them."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def excerpt(text: str, longest: int = 160) -> str:
    """What an answer without any field says instead, to follow a sentence; empty when it says nothing.

    A refusal is such an answer: the user should read it, and not only that it cannot be read.
    """
    words = " ".join(text.split())
    if not words or _MARKER.search(text):
        return ""
    return f" It says: {words}" if len(words) <= longest else f" It says: {words[:longest]}…"


def split_fields(text: str) -> dict[str, str]:
    """The answer's fields by name, each without the blank space around it; the first of a name counts."""
    found: dict[str, str] = {}
    markers = list(_MARKER.finditer(text))
    for place, marker in enumerate(markers):
        end = markers[place + 1].start() if place + 1 < len(markers) else len(text)
        found.setdefault(marker[1], text[marker.end() : end].strip())
    return found


def read_items(text: str) -> list[str]:
    """A list from its JSON, or from its lines, numbered or bulleted or plain."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if isinstance(values, list):
        lines = [str(value).strip() for value in values]
    else:
        lines = [_BULLET.sub("", line).strip() for line in text.split("\n")]
    return [_without_ordinal(line) for line in lines if line]


def _without_ordinal(line: str) -> str:
    bare = _ORDINAL.sub("", line)
    return line if bare == line or not bare else bare[0].upper() + bare[1:]


def omissions(before: str, after: str) -> list[str]:
    """Comments of `after` that stand for code which was left out, and were not in `before` already."""
    known = {line.strip() for line in before.split("\n")}
    lines = (line.strip() for line in after.split("\n"))
    return [line for line in lines if line not in known and _stands_for_code(line)]


def _stands_for_code(line: str) -> bool:
    comment = _COMMENT.match(line)
    if comment is None:
        return False
    words = comment[1].strip()
    if _ELLIPSIS.search(words) and (_LEFT_OUT.search(words) or not re.search(r"\w", words)):
        return True
    return bool(_SURELY_LEFT_OUT.search(words))


@define
class FieldStream:
    """Takes an answer apart while it arrives: pieces of text go in, (field, text) pieces come out.

    Markers and the blank lines around them are swallowed; text before the first marker belongs to no field
    and is dropped.
    """

    _field: str = field(default="", init=False)
    _line: str = field(default="", init=False)
    _blank: str = field(default="", init=False)
    # Whether the field has said something, and whether its current line has.
    _begun: bool = field(default=False, init=False)
    _inside: bool = field(default=False, init=False)

    def feed(self, text: str) -> list[tuple[str, str]]:
        """What can be said for sure after this piece."""
        pieces: list[tuple[str, str]] = []
        self._line += text
        while "\n" in self._line:
            line, self._line = self._line.split("\n", 1)
            self._end_line(line, pieces)
        if self._line and (self._inside or not _may_become_marker(self._line)):
            self._say(self._line, pieces)
            self._line, self._inside = "", True
        return pieces

    def _end_line(self, line: str, pieces: list[tuple[str, str]]) -> None:
        marker = None if self._inside else _MARKER_LINE.fullmatch(line)
        if marker is not None:
            self._field, self._blank, self._begun = marker[1], "", False
            return
        if line:
            self._say(line, pieces)
        # Line ends wait: before a marker, and before the field's first word, they are not the field's.
        self._blank += "\n"
        self._inside = False

    def _say(self, text: str, pieces: list[tuple[str, str]]) -> None:
        if self._field and self._field != "completed":
            pieces.append((self._field, (self._blank if self._begun else "") + text))
        self._blank, self._begun = "", True


def _may_become_marker(line: str) -> bool:
    start = line.lstrip(" \t")
    return _MARKER_START.startswith(start[: len(_MARKER_START)])
