"""What can be checked of a text without running anything: its lengths and its links."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

# [words](target "title") and [name]: target, outside of code.
_LINK = re.compile(r"!?\[[^\]\n]*\]\(\s*<?([^)\s>]*)>?(?:\s+[\"'(][^)\n]*)?\s*\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]\n]+\]:\s*<?(\S+?)>?(?:\s|$)", re.MULTILINE)
_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"(`+)[^`].*?\1")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@frozen
class Bounds:
    """What is looked at; 0 is no bound."""

    longest_line: int = 0
    most_words: int = 0
    links: bool = True


@frozen
class Finding:
    """A fault of a text. `line` does not make two findings differ: text above may have come or gone."""

    what: str
    line: int | None = field(default=None, eq=False)

    def __str__(self) -> str:
        return self.what if self.line is None else f"Line {self.line}: {self.what}"


def findings(
    text: str, path: str, bounds: Bounds, root: Path | None, proposed: Collection[str] = ()
) -> Iterator[Finding]:
    """The faults of a text.

    Args:
        text: The whole text.
        path: Its path in the workspace.
        bounds: What is looked at.
        root: The workspace; without it, links to files are not looked at.
        proposed: Paths of files that are there because they are proposed too.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if bounds.longest_line and len(line) > bounds.longest_line and "://" not in line:
            shown = line.strip()[:40]
            yield Finding(f"it has more than {bounds.longest_line} characters: {shown}…", number)
    words = len(text.split())
    if bounds.most_words and words > bounds.most_words:
        yield Finding(f"The text has more than {bounds.most_words} words.")
    if bounds.links:
        yield from _link_findings(text, path, root, proposed)


def _link_findings(text: str, path: str, root: Path | None, proposed: Collection[str]) -> Iterator[Finding]:
    prose = _INLINE_CODE.sub(_blank, _FENCED.sub(_blank, text))
    anchors = _anchors(prose)
    for pattern in (_LINK, _DEFINITION):
        for match in pattern.finditer(prose):
            if why := _broken(match[1], path, anchors, root, proposed):
                yield Finding(f"the link {match[1]!r} {why}", prose.count("\n", 0, match.start()) + 1)


def _broken(
    target: str, path: str, anchors: Collection[str], root: Path | None, proposed: Collection[str]
) -> str:
    """What is wrong with a link's target; empty when nothing is, or nothing can be known."""
    if not target:
        return "leads nowhere."
    try:
        parts = urlsplit(target)
    except ValueError:
        return "is no address."
    if parts.scheme or parts.netloc:
        # The network is not asked: it would be told what the user writes.
        return "" if parts.netloc or parts.scheme not in {"http", "https"} else "has no host."
    if not parts.path:
        return "" if unquote(parts.fragment).lower() in anchors else "has no such heading in this text."
    if root is None or parts.path.startswith("/"):
        return ""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(parts.path)))
    if place.startswith(".."):
        return "leads out of the workspace."
    return "" if place in proposed or (root / place).exists() else "leads to a file that is not there."


def _anchors(prose: str) -> set[str]:
    """Headings as addresses: lower case, without punctuation, words joined by hyphens."""
    anchors: set[str] = set()
    for match in _HEADING.finditer(prose):
        anchor = _NOT_IN_ANCHORS.sub("", match[1].strip().lower()).replace(" ", "-")
        count = 0
        while (numbered := anchor if count == 0 else f"{anchor}-{count}") in anchors:
            count += 1
        anchors.add(numbered)
    return anchors


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
