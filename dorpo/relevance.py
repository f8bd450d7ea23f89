"""Which regions of a long document a text is about: those it names, then those it shares words with. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from attrs import frozen

from dorpo.regions import Kind, Region, lines_of

# Lines of a shown region that are not its code: its name, the fence, and a blank one.
AROUND = 4
_WORD = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}|\d{2,}")


@frozen
class Relevant:
    """A region and what a text has to do with it.

    Attributes:
        named: Whether the text speaks of it by its name.
        shared: Words that its code has too.
    """

    region: Region
    named: bool
    shared: int


def by_relevance(text: str, script: str, regions: Sequence[Region], max_lines: int) -> list[Relevant]:
    """The regions whose code can be shown, the most relevant first.

    Those the text names, then the module's head, then those that share most words with it, and among equals
    as they stand. A class of more than `max_lines` is left out: it is shown by its methods.
    """
    lines, wanted = lines_of(script), _words(text)
    short = [
        region
        for region in regions
        if region.start < region.end
        and (region.end - region.start <= max_lines or not _has_parts(region, regions))
    ]

    def relevant(region: Region) -> Relevant:
        shared = len(wanted & _words("".join(lines[region.start : region.end])))
        return Relevant(region, _names(text, region), shared)

    return sorted(map(relevant, short), key=_rank)


def apart(region: Region, taken: Sequence[Region]) -> bool:
    """Whether a region shares no line with others."""
    return all(region.end <= other.start or other.end <= region.start for other in taken)


def _rank(found: Relevant) -> tuple[bool, bool, int, int]:
    return (not found.named, found.region.kind is not Kind.HEAD, -found.shared, found.region.start)


def _has_parts(region: Region, regions: Sequence[Region]) -> bool:
    return any(other.owner == region.name for other in regions)


def _names(text: str, region: Region) -> bool:
    """Whether a text speaks of a region. A method's name alone may be a word, unless it is code."""
    if re.search(rf"(?<![\w.]){re.escape(region.name)}(?!\w|\.\w)", text):
        return True
    if region.kind is not Kind.METHOD:
        return False
    method = re.escape(region.name.rpartition(".")[2])
    pattern = rf"(?<!\w){method}\(|`{method}`" + (rf"|(?<!\w){method}(?!\w)" if "_" in method else "")
    return bool(re.search(pattern, text))


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}
