"""The regions of a long document: named parts that a worker may rewrite, with their exact lines.

Python's are found by its own parser: functions and classes at the top, the methods of those classes, and, so
that every line belongs to one, the code and comments before and between them. Regions that the author marked
with comments (`# region NAME` … `# endregion`) are found in any language. A name that is there twice is not
offered.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from attrs import frozen

HEAD = "module head"
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef

_COMMENT_START = r"[ \t]*(?:#|//|--|;|%|/\*|<!--)[ \t]*#?"
_OPEN = re.compile(rf"{_COMMENT_START}region[ \t]+(\S[^\n]*?)[ \t]*(?:\*/|-->)?[ \t\r]*\n?")
_CLOSE = re.compile(rf"{_COMMENT_START}endregion\b[^\n]*\n?")
# Names that would be read as something else in a marker of an answer.
_TAKEN = re.compile(r"(?:NEW|DELETE)\b|.*(?:\[\[|\]\])")
_FIRST_LINES = re.compile(r"#!|#.*coding[:=]")


class Kind(StrEnum):
    """What a region is."""

    HEAD = "head"
    SYMBOL = "symbol"
    CODE = "code"
    CLASS_HEAD = "class_head"
    METHOD = "method"
    MARKED = "marked"


@frozen
class Region:
    """A named part of a document.

    Attributes:
        start: Its first line, counted from 0.
        end: The line after its last one; equal to `start` when it is empty.
        owner: Name of the class that it is in; empty outside.
    """

    name: str
    start: int
    end: int
    kind: Kind
    owner: str = ""

    def contains(self, other: Region) -> bool:
        """Whether the other one is within this one, or is this one."""
        return self.start <= other.start and other.end <= self.end


def lines_of(script: str) -> list[str]:
    r"""The lines with their ends; only "\n" ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", script)


def parsed(code: str) -> ast.Module | None:
    """The code's syntax tree; None when it is not Python."""
    # A lone carriage return ends a line for the parser and for nobody else: the numbers would be wrong.
    if "\r" in code:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def find_regions(script: str) -> tuple[Region, ...]:
    """All regions that can be named, in the order of their first lines, the outer before the inner."""
    lines, tree = lines_of(script), parsed(script)
    found = list(_marked(_comments(script) if tree is not None else enumerate(lines)))
    if tree is not None:
        found += _python_regions(tree, lines)
    times = Counter(region.name for region in found)
    unique = [region for region in found if times[region.name] == 1]
    return tuple(sorted(unique, key=_place))


def _place(region: Region) -> tuple[int, bool, int]:
    return region.start, region.start < region.end, -region.end


# Python


def _python_regions(tree: ast.Module, lines: Sequence[str]) -> Iterator[Region]:
    symbols = [
        (node, Region(node.name, *span, Kind.SYMBOL)) for node, span in _definitions(tree.body, lines, 0)
    ]
    if not symbols:
        return
    begin = 0
    while begin < min(2, len(lines)) and _FIRST_LINES.match(lines[begin]):
        begin += 1
    start, end = _trimmed(lines, begin, symbols[0][1].start)
    yield Region(HEAD, start, end, Kind.HEAD) if start < end else Region(HEAD, begin, begin, Kind.HEAD)
    ends = [region.start for _, region in symbols[1:]] + [len(lines)]
    for (node, region), until in zip(symbols, ends, strict=True):
        yield region
        if isinstance(node, ast.ClassDef):
            yield from _class_regions(node, region, lines)
        start, end = _trimmed(lines, region.end, until)
        if start < end:
            yield Region(f"code after {region.name}", start, end, Kind.CODE)


def _class_regions(node: ast.ClassDef, whole: Region, lines: Sequence[str]) -> Iterator[Region]:
    methods = [
        Region(f"{node.name}.{method.name}", *span, Kind.METHOD, node.name)
        for method, span in _definitions(node.body, lines, node.lineno)
        if not isinstance(method, ast.ClassDef)
    ]
    if methods:
        first = min(_first_line(statement) for statement in node.body if isinstance(statement, _Definition))
        start, end = _trimmed(lines, whole.start, min(first, methods[0].start))
        yield Region(f"head of {node.name}", start, end, Kind.CLASS_HEAD, node.name)
        yield from methods


def _definitions(
    body: Sequence[ast.stmt], lines: Sequence[str], floor: int
) -> Iterator[tuple[_Definition, tuple[int, int]]]:
    """The definitions whose name is there once, with their lines and the comments that belong to them."""
    times = Counter(node.name for node in body if isinstance(node, _Definition))
    for node in body:
        if isinstance(node, _Definition) and times[node.name] == 1:
            yield node, _span(node, lines, floor)
        floor = node.end_lineno or node.lineno


def _span(node: _Definition, lines: Sequence[str], floor: int) -> tuple[int, int]:
    """From the comments directly above to those directly below that are indented as its body is."""
    start, end = _first_line(node), node.end_lineno or node.lineno
    indent = _indent(lines[node.lineno - 1])
    while start > floor and _is_comment(lines, start - 1) and _indent(lines[start - 1]) == indent:
        start -= 1
    while end < len(lines) and _is_comment(lines, end) and len(_indent(lines[end])) > len(indent):
        end += 1
    return start, end


def _first_line(node: _Definition) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1


def _is_comment(lines: Sequence[str], number: int) -> bool:
    """Whether a line between two statements is a comment that may belong to one."""
    line = lines[number]
    if _OPEN.fullmatch(line) or _CLOSE.fullmatch(line) or (number < 2 and _FIRST_LINES.match(line)):
        return False
    return line.lstrip(" \t\f").startswith("#")


def _indent(line: str) -> str:
    line = line.lstrip("\f")
    return line[: len(line) - len(line.lstrip(" \t"))]


def _trimmed(lines: Sequence[str], start: int, end: int) -> tuple[int, int]:
    """The same lines without blank ones, and without the marks of marked regions, at both ends."""
    while start < end and _is_between(lines[start]):
        start += 1
    while start < end and _is_between(lines[end - 1]):
        end -= 1
    return start, end


def _is_between(line: str) -> bool:
    return not line.strip() or bool(_OPEN.fullmatch(line) or _CLOSE.fullmatch(line))


# Marked regions


def _marked(lines: Iterable[tuple[int, str]]) -> Iterator[Region]:
    opened: list[tuple[str, int]] = []
    for number, line in lines:
        opening = _OPEN.fullmatch(line)
        if opening:
            opened.append((opening[1], number))
        elif opened and _CLOSE.fullmatch(line):
            name, start = opened.pop()
            if not _TAKEN.match(name):
                yield Region(name, start, number + 1, Kind.MARKED)


def _comments(script: str) -> Iterator[tuple[int, str]]:
    """The comments of Python code that have lines of their own; what looks like one in a string is none."""
    if "region" not in script:
        return
    try:
        for token in tokenize.generate_tokens(io.StringIO(script).readline):
            if token.type == tokenize.COMMENT and token.line.strip() == token.string.strip():
                yield token.start[0] - 1, token.string
    except (tokenize.TokenError, SyntaxError):
        return
