"""Putting rewritten regions back into their document, and finding out which regions two documents differ in.

All changes are made or none. What is outside of them stays as it is, byte by byte.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from attrs import frozen

from dorpo.regions import HEAD, Kind, Region, find_regions, lines_of, parsed

_IN_CLASS = (Kind.METHOD, Kind.CLASS_HEAD)
# Regions whose own code gives them their name.
_NAMED = (Kind.SYMBOL, Kind.METHOD, Kind.MARKED)


class SpliceError(ValueError):
    """Changes do not fit their document; the message is one sentence about the answer that holds them."""


@frozen
class Change:
    """What becomes of a region.

    Attributes:
        name: The region's.
        code: Its new code without blank lines around it; None deletes it.
        new: Whether the code is put after the region, which stays as it is.
    """

    name: str
    code: str | None
    new: bool = False


@frozen
class _Edit:
    """These lines become this text. Where two begin alike, `order` is theirs."""

    start: int
    end: int
    text: str
    order: int = 0


def splice(script: str, changes: Sequence[Change]) -> str:
    """The document with its changes, in whatever order they come.

    Raises:
        SpliceError: There is none, a region is unknown or changed twice, changes overlap, or the new code is
            not what its place needs.
    """
    lines, regions = lines_of(script), {region.name: region for region in find_regions(script)}
    _check_names(changes, regions)
    _check_overlaps(changes, regions)
    python = parsed(script) is not None
    if python:
        for change in changes:
            _check_code(change, regions, lines)
    edits = [_edit(change, regions[change.name], lines) for change in changes]
    result, at = [], 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end, edit.order)):
        result += [*lines[at : edit.start], edit.text]
        at = max(at, edit.end)
    spliced = "".join([*result, *lines[at:]])
    _check_result(spliced, changes, regions, python)
    return spliced


def difference(base: str, script: str) -> tuple[Change, ...] | None:
    """The changes that make the second document of the first, but for blank lines between regions.

    None when changes of regions cannot say it. As little as possible is changed: methods rather than classes.
    """
    old, new = (base, find_regions(base)), (script, find_regions(script))
    for narrow in (True, False):
        changes = tuple(_changes(old, new, "", narrow))
        try:
            if changes and _squeezed(splice(base, changes)) == _squeezed(script):
                return changes
        except SpliceError:
            continue
    return None


# Making changes


def _edit(change: Change, region: Region, lines: Sequence[str]) -> _Edit:
    start, end, code = region.start, region.end, change.code
    if code is None:
        while start > 0 and not lines[start - 1].strip():
            start -= 1
        while start == 0 and end < len(lines) and not lines[end].strip():
            end += 1
        return _Edit(start, end, "")
    gap = "\n" if region.kind in (*_IN_CLASS, Kind.MARKED) else "\n\n"
    # Blank lines follow where the document has none of its own.
    after = gap if end < len(lines) and lines[end].strip() else ""
    if start == end:
        return _Edit(start, end, f"{code}\n{after}", int(change.new))
    last = lines[end - 1].endswith("\n")
    if change.new:
        # After a class comes what comes after its last method.
        return _Edit(end, end, f"{gap}{code}\n{after}" if last else f"\n{gap}{code}", -start)
    return _Edit(start, end, f"{code}\n" if last else code)


# Checking them


def _check_names(changes: Sequence[Change], regions: dict[str, Region]) -> None:
    if not changes:
        raise SpliceError("The answer changes no region.")
    for change in changes:
        if change.name not in regions:
            raise SpliceError(f"The answer names a region {change.name!r}, which the document does not have.")
    for (name, new), times in Counter((change.name, change.new) for change in changes).items():
        if times > 1:
            place = "puts code after" if new else "changes"
            raise SpliceError(f"The answer {place} the region {name!r} twice.")


def _check_overlaps(changes: Sequence[Change], regions: dict[str, Region]) -> None:
    replaced = [regions[change.name] for change in changes if not change.new]
    for change in changes:
        here = regions[change.name]
        for other in replaced:
            if other.name == here.name:
                continue
            # Code that is put after a region is where that one is.
            apart = here.end <= other.start or other.end <= here.start
            if not apart and not (change.new and here.contains(other)):
                raise SpliceError(f"The answer changes {here.name!r} and {other.name!r}, which overlap.")


def _check_code(change: Change, regions: dict[str, Region], lines: Sequence[str]) -> None:
    """Whether Python code parses by itself: in its place, an open string could swallow what follows."""
    region, code = regions[change.name], change.code
    if code is None or region.kind is Kind.MARKED:
        return
    if region.kind is Kind.METHOD or (change.new and region.kind is Kind.CLASS_HEAD):
        code = f"class _:\n{code}"
    elif region.kind is Kind.CLASS_HEAD:
        method = next(r for r in regions.values() if r.owner == region.owner and r.kind is Kind.METHOD)
        line = lines[method.start]
        code = f"{code}\n{line[: len(line) - len(line.lstrip())]}pass"
    if parsed(code + "\n") is None:
        raise SpliceError(f"The answer's new code of {change.name!r} is not valid Python.")


def _check_result(spliced: str, changes: Sequence[Change], regions: dict[str, Region], python: bool) -> None:
    if python and parsed(spliced) is None:
        raise SpliceError("The document is not valid Python with the answer's changes.")
    after = {region.name: region.kind for region in find_regions(spliced)}
    deleted = [regions[change.name] for change in changes if change.code is None]
    rewritten = [regions[change.name] for change in changes if change.code is not None and not change.new]
    for region in regions.values():
        there = after.get(region.name) is region.kind
        if region.kind not in _NAMED or there is not (region in deleted):
            continue
        if there:
            raise SpliceError(f"The answer deletes {region.name!r}, and defines it again.")
        if region in rewritten:
            raise SpliceError(f"The answer's code of {region.name!r} does not define it once, at its level.")
        # What is within something rewritten may go with it.
        if not any(outer.contains(region) for outer in [*deleted, *rewritten]):
            raise SpliceError(f"With the answer's changes the document would not have {region.name!r} once.")


# Finding changes

_Document = tuple[str, tuple[Region, ...]]


def _changes(old: _Document, new: _Document, owner: str, narrow: bool) -> Iterator[Change]:
    """Differences of the regions that follow each other: of the document, or of a class."""
    before, after = _parts(old, owner), _parts(new, owner)
    after = _with_old_names(before, after)
    for name, text in before.items():
        if not after.get(name):
            if text:
                yield Change(name, None)
        elif after[name] != text:
            inner = _parts(old, name) if narrow else {}
            if inner and _parts(new, name):
                yield from _changes(old, new, name, narrow)
            else:
                yield Change(name, after[name])
    # New regions that follow each other are one change, after the last one that both documents have.
    anchor, found = (HEAD if not owner else f"head of {owner}"), dict[str, list[str]]()
    for name, text in after.items():
        if name in before:
            anchor = name
        else:
            found.setdefault(anchor, []).append(text)
    gap = "\n\n" if owner else "\n\n\n"
    for name, texts in found.items():
        if name in before:
            yield Change(name, gap.join(texts), new=True)


def _with_old_names(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    """Code between symbols is named by the one before it, and called otherwise when that one is another."""
    lost = {text: name for name, text in before.items() if name not in after}
    return {(name if name in before else lost.pop(text, name)): text for name, text in after.items()}


def _parts(document: _Document, owner: str) -> dict[str, str]:
    script, regions = document
    marks = not any(region.kind is Kind.SYMBOL for region in regions)
    lines, parts, end = lines_of(script), dict[str, str](), 0
    for region in regions:
        if region.owner != owner or (region.kind is Kind.MARKED) is not marks or region.start < end:
            continue
        end = region.end
        text = "".join(lines[region.start : region.end])
        parts[region.name] = text.removesuffix("\n")
    return parts


def _squeezed(script: str) -> str:
    return re.sub(r"\n(?:[ \t]*\n)+", "\n", script).strip("\n")
