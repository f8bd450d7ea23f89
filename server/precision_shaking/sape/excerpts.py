"""A long script as planner and lead read it: an outline of all of it, and the code that they are asked about.

Not more lines than of a script that they get whole: half of them are the outline's, half the code's. What is
shown depends on nothing but the script and the words, so that the same question is always asked the same way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from dorpo.markers import fenced
from dorpo.regions import Kind, Region, find_regions, lines_of, parsed
from dorpo.relevance import AROUND, Relevant, apart, by_relevance
from dorpo.rendering import MAX_WHOLE_LINES

# Of a region that has no room, so many lines at least are worth showing.
_WORTH_SHOWING = 10
_LONGEST_SIGNATURE = 120


def excerpt_of(script: str, words: str, max_whole_lines: int = MAX_WHOLE_LINES) -> str:
    """The script, or of one that is too long to be written whole an outline and the code that matters.

    Args:
        script: All of it. One without regions is given whole: the worker will have to write it whole too.
        words: What is asked about it; code that these name comes first.
        max_whole_lines: The most lines of the result, where it is not the script itself.
    """
    lines = lines_of(script)
    regions = find_regions(script) if script.count("\n") > max_whole_lines else ()
    if not regions:
        return script
    room = max_whole_lines // 2
    found = by_relevance(words, script, regions, room)
    parts = [
        f"This script has {len(lines)} lines. Its parts, with their lines:",
        *_outline(script, found, room - 2),
        *_code(lines, found, room),
    ]
    return "\n".join(parts)


def _outline(script: str, found: Sequence[Relevant], room: int) -> Iterator[str]:
    """A line for each region in their order; where there are too many, for the most relevant."""
    signatures = _signatures(script)
    listed = [one.region for one in found[: max(0, room - 1) if len(found) > room else room]]
    for region in sorted(listed, key=lambda region: (region.start, -region.end)):
        signature = signatures.get(region.name, "")
        yield f"{_titled(region)}: {signature}" if signature else _titled(region)
    if len(listed) < len(found):
        yield f"and {len(found) - len(listed)} more"


def _code(lines: Sequence[str], found: Sequence[Relevant], room: int) -> Iterator[str]:
    """The code of the relevant regions, in their order; of one that is named and too long, its beginning."""
    shown: dict[Region, int] = {}
    for one in found:
        region, left = one.region, room - AROUND
        relevant = one.named or one.shared or region.kind is Kind.HEAD
        if not relevant or not apart(region, tuple(shown)):
            continue
        length = region.end - region.start
        if length > left and one.named and left > _WORTH_SHOWING:
            length = left - 1  # a line says that it goes on
        if length <= left:
            shown[region] = length
            room -= length + AROUND + (length < region.end - region.start)
    for region, length in sorted(shown.items(), key=lambda item: item[0].start):
        yield f"\n{_titled(region)}:"
        yield fenced("".join(lines[region.start : region.start + length]).removesuffix("\n"))
        if length < region.end - region.start:
            yield f"and {region.end - region.start - length} more lines"


def _titled(region: Region) -> str:
    return f"{region.name} (lines {region.start + 1}-{region.end})"


def _signatures(script: str) -> dict[str, str]:
    """How functions, classes and methods are called, by the names of their regions."""
    tree = parsed(script)
    found = {}
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"{node.name}.{method.name}"] = _signature(method)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = _signature(node)
    return found


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> str:
    # The tree is nobody else's.
    node.body, node.decorator_list = [], []
    text = ast.unparse(node).strip().removesuffix(":")
    return text if len(text) <= _LONGEST_SIGNATURE else f"{text[:_LONGEST_SIGNATURE]}…"
