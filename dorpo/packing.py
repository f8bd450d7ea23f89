"""Which groups of an optimizer step are read together, and in which process.

The groups of a step are fixed before: packing changes how they are computed, never what is learned from them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def pack(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Fill as few bins as is easily found: first fit, the largest first.

    Args:
        sizes: Of the things to pack.
        budget: What a bin holds; a thing that is larger gets a bin to itself.

    Returns:
        Indices of the things in every bin.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        fitting = (place for place, left in enumerate(room) if sizes[index] <= left)
        if (place := next(fitting, None)) is None:
            bins.append([index])
            room.append(budget - sizes[index])
        else:
            bins[place].append(index)
            room[place] -= sizes[index]
    return bins


def deal(sizes: Sequence[int], shares: int) -> list[list[int]]:
    """Spread work evenly: the largest first, each to whoever has the least. A share may be empty.

    Returns:
        Indices of the things in every share.
    """
    dealt: list[list[int]] = [[] for _ in range(shares)]
    loads = [0] * shares
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        least = loads.index(min(loads))
        dealt[least].append(index)
        loads[least] += sizes[index]
    return dealt


def largest(sizes: Sequence[int], *, at_once: int, budget: int | None) -> int:
    """Tokens that a micro-batch of these groups has at most, as `micro_batches` makes them."""
    most = max(sizes)
    return max(most, min(budget or most * at_once, sum(sizes)))


def micro_batches(
    groups: Sequence[T], size: Callable[[T], int], *, at_once: int, budget: int | None
) -> list[list[T]]:
    """The groups of a step as micro-batches.

    Args:
        groups: All of them.
        size: Tokens of a group.
        at_once: Groups in a micro-batch, if there is no budget.
        budget: Tokens in a micro-batch.
    """
    if budget is None:
        return [list(groups[start : start + at_once]) for start in range(0, len(groups), at_once)]
    return [[groups[index] for index in bin_] for bin_ in pack([size(group) for group in groups], budget)]
