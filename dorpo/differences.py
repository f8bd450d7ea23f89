"""Where a chosen and a rejected response differ, token by token.

Most of a script is the same on both sides. Comparing only what differs asks which of two changes is better,
and not also how probable the copied text is; for code, Target-DPO (arXiv 2503.02783) compares such regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from attrs import frozen


@frozen
class Difference:
    """Places of tokens in a chosen and in a rejected response; both have some unless the two are equal."""

    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def common_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many items both begin with."""
    if left == right:  # mostly so where a text is compared with itself, and fast
        return len(left)
    pairs = zip(left, right, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def differing(chosen: Sequence[int], rejected: Sequence[int]) -> Difference:
    """The tokens that are not the same on the other side.

    Where one side only leaves something out, the token it goes on with is its part of the difference: there
    it chose not to write what the other one wrote.
    """
    begin = common_length(chosen, rejected)
    end = common_length(chosen[begin:][::-1], rejected[begin:][::-1])
    left, right = chosen[begin : len(chosen) - end], rejected[begin : len(rejected) - end]
    ours: set[int] = set()
    theirs: set[int] = set()
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for tag, start, stop, other_start, other_stop in matcher.get_opcodes():
        if tag != "equal":
            ours.update(range(start, max(stop, start + 1)))
            theirs.update(range(other_start, max(other_stop, other_start + 1)))
    return Difference(_places(ours, begin, len(chosen)), _places(theirs, begin, len(rejected)))


def _places(found: set[int], begin: int, length: int) -> tuple[int, ...]:
    """Nothing comes after the end of a text that is the other one's beginning."""
    return tuple(sorted({min(begin + place, length - 1) for place in found}))
