"""Packing and dealing: nothing is lost, nothing overflows, and the same comes out every time."""

from __future__ import annotations

import random

import pytest

from dorpo.packing import deal, micro_batches, pack

SIZES = [random.Random(3).randint(1, 60) for _ in range(40)]  # noqa: S311 - no secret


def test_bins_hold_everything_once_and_no_more_than_they_can():
    bins = pack(SIZES, 64)
    assert sorted(index for members in bins for index in members) == list(range(40))
    assert all(sum(SIZES[index] for index in members) <= 64 for members in bins)
    # First fit of the largest first needs at most 11/9 of the best, which cannot beat the sum.
    assert len(bins) <= 11 / 9 * -(-sum(SIZES) // 64) + 1


def test_a_group_above_the_budget_is_alone():
    assert pack([100, 3, 4], 10) == [[0], [2, 1]]


def test_packing_is_the_same_every_time():
    assert pack(SIZES, 64) == pack(list(SIZES), 64)
    assert pack([5, 5, 5], 5) == [[0], [1], [2]]


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_work_is_dealt_evenly(shares):
    dealt = deal(SIZES, shares)
    assert sorted(index for share in dealt for index in share) == list(range(40))
    loads = [sum(SIZES[index] for index in share) for share in dealt]
    assert max(loads) - min(loads) <= max(SIZES)


def test_there_may_be_less_work_than_hands():
    assert deal([4], 3) == [[0], [], []]


def test_without_a_budget_groups_are_taken_in_their_order():
    assert micro_batches("abcde", len, at_once=2, budget=None) == [["a", "b"], ["c", "d"], ["e"]]
    assert micro_batches(["aa", "b", "c"], len, at_once=1, budget=3) == [["aa", "b"], ["c"]]
