"""A line-based three-way merge: what the user typed while a proposal was being made is not lost.

Pure: texts in, text out. Lines end with a newline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from attrs import frozen

# From this size on, frequent lines (blank ones, brackets) no longer serve as anchors: their number makes
# matching quadratic.
_LARGE = 1000


@frozen
class Merge:
    """What came out of a merge.

    Attributes:
        text: The merged text. Where both sides changed the same lines it holds the proposal's.
        conflicts: Number of such places.
    """

    text: str
    conflicts: int


@frozen
class _Change:
    """The base's lines [start, end) were replaced by `lines`."""

    start: int
    end: int
    lines: tuple[str, ...]


def merge(base: str, live: str, proposal: str) -> Merge:
    """Bring the changes base → proposal into the live text.

    Two changes conflict when they touch, as in git: neighbouring lines are read together, so they were
    written together. The same change on both sides is no conflict.
    """
    if live in (base, proposal):
        return Merge(proposal, 0)
    if proposal == base:
        return Merge(live, 0)
    base_lines = split(base)
    ours, theirs = _changes(base_lines, split(live)), _changes(base_lines, split(proposal))
    merged: list[str] = []
    conflicts = position = 0
    for region, our_changes, their_changes in _regions(ours, theirs):
        merged += base_lines[position : region.start]
        position = region.stop
        our_text = _applied(base_lines, region, our_changes)
        their_text = _applied(base_lines, region, their_changes)
        if our_changes and their_changes and our_text != their_text:
            conflicts += 1
        merged += their_text if their_changes else our_text
    merged += base_lines[position:]
    return Merge("".join(merged), conflicts)


def split(text: str) -> list[str]:
    """The text's lines with their ends; only a newline ends one, unlike `str.splitlines`."""
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def opcodes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """The places (old start, old end, new start, new end) where two lists of lines differ, in order."""
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    middle, new_middle = old[head : len(old) - tail], new[head : len(new) - tail]
    matcher = SequenceMatcher(None, middle, new_middle, autojunk=max(len(middle), len(new_middle)) > _LARGE)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag != "equal":
            yield i1 + head, i2 + head, j1 + head, j2 + head


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """How many lines two lists have in common at their beginning."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count


def _changes(base: list[str], text: list[str]) -> list[_Change]:
    return [_Change(i1, i2, tuple(text[j1:j2])) for i1, i2, j1, j2 in opcodes(base, text)]


def _regions(
    ours: list[_Change], theirs: list[_Change]
) -> Iterator[tuple[range, list[_Change], list[_Change]]]:
    """Group both sides' changes into the base's regions that have to be decided together."""
    queue = sorted(
        [(c.start, c.end, 0, c) for c in ours] + [(c.start, c.end, 1, c) for c in theirs], key=_order
    )
    while queue:
        start, end, side, change = queue.pop(0)
        sides: tuple[list[_Change], list[_Change]] = ([], [])
        sides[side].append(change)
        # A side's own changes never touch, so a touching one is the other side's.
        while queue and queue[0][0] <= end:
            _, next_end, side, change = queue.pop(0)
            sides[side].append(change)
            end = max(end, next_end)
        yield range(start, end), *sides


def _order(entry: tuple[int, int, int, _Change]) -> tuple[int, int, int]:
    return entry[:3]


def _applied(base: list[str], region: range, changes: list[_Change]) -> list[str]:
    """The region's lines with one side's changes in them."""
    lines: list[str] = []
    position = region.start
    for change in changes:
        lines += [*base[position : change.start], *change.lines]
        position = change.end
    return lines + base[position : region.stop]
