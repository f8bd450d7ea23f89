"""The arithmetic of an evaluation against answers that are known beforehand."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest

from dorpo.evaluation.figures import Counts, Gain, Pair, bootstrap_interval, gain, summarize


def counts(**changed) -> Counts:
    plain = {
        "pairs": [Pair("redo", 1.0)],
        "chosen_tokens": 10,
        "chosen_logp": -10.0,
        "scored": 8,
        "kl": 4.0,
        "translated": 5,
        "agreed": 3,
        "ending": 0.5,
        "cycle": 1,
    }
    return Counts(**{**plain, **changed})


def test_where_every_prompt_agrees_the_interval_is_a_point():
    assert bootstrap_interval([2.0] * 7, [2] * 7) == (1.0, 1.0)
    assert bootstrap_interval([1.0] * 7, [2] * 7) == (0.5, 0.5)


def test_a_single_prompt_has_no_spread():
    assert bootstrap_interval([1.0], [4]) == (0.25, 0.25)


def test_the_interval_has_the_quantiles_of_every_possible_resample():
    won, pairs = [3.0, 0.0, 1.0, 1.0], [3, 1, 2, 4]
    shares = sorted(
        Fraction(int(sum(won[n] for n in drawn)), sum(pairs[n] for n in drawn))
        for drawn in product(range(4), repeat=4)
    )
    low, high = bootstrap_interval(won, pairs, resamples=20_000)
    assert low == pytest.approx(float(shares[round(0.025 * len(shares))]), abs=0.02)
    assert high == pytest.approx(float(shares[round(0.975 * len(shares)) - 1]), abs=0.02)


def test_many_equal_prompts_give_the_interval_of_the_normal_distribution():
    low, high = bootstrap_interval([1.0, 0.0] * 400, [1] * 800)
    half = 1.96 * math.sqrt(0.25 / 800)
    assert (low, high) == (pytest.approx(0.5 - half, abs=0.005), pytest.approx(0.5 + half, abs=0.005))


def test_equal_seeds_give_equal_intervals():
    won, pairs = [1.0, 0.0, 1.0, 0.5], [1, 1, 2, 1]
    assert bootstrap_interval(won, pairs, seed=3) == bootstrap_interval(won, pairs, seed=3)


def test_figures_are_sums_over_sums():
    figures = summarize(
        [
            counts(),
            counts(
                pairs=[Pair("redo", 1.0), Pair("error", 0.5), Pair("redo", 0.0)],
                chosen_tokens=30,
                chosen_logp=-6.0,
                cycle=2,
                kl=1.0,
                ending=0.9,
            ),
        ]
    )
    assert (figures.prompts, figures.pairs, figures.pair_accuracy) == (2, 4, 2.5 / 4)
    assert figures.chosen_perplexity == pytest.approx(math.exp(16 / 40))
    assert (figures.kl, figures.kl_first_cycle, figures.kl_later_cycles) == (5 / 16, 0.5, 0.125)
    assert figures.teacher_agreement == 0.6
    assert figures.ending_probability == pytest.approx(0.7)
    parts = {reason: (part.pairs, part.share) for reason, part in figures.by_reason.items()}
    assert parts == {"redo": (3, 2 / 3), "error": (1, 0.5)}
    assert figures.by_reason["error"].interval == (0.5, 0.5)
    probability = (math.exp(-1) + math.exp(-0.2)) / 2
    assert figures.chosen_probability == pytest.approx(probability)
    assert figures.amplification == pytest.approx(1 / (1 - probability))


def test_what_nothing_defines_is_none():
    figures = summarize([counts(pairs=[], scored=0, kl=0.0, translated=0, agreed=0)])
    assert figures.pair_accuracy is figures.pair_interval is figures.kl is figures.teacher_agreement is None
    assert figures.kl_later_cycles is None
    assert figures.by_reason == {}


def test_a_gain_is_that_of_the_same_prompts():
    """Where both differ by the same everywhere the interval is a point, however unlike the prompts are."""
    before = [counts(pairs=[Pair("redo", 0.0)] * n, kl=float(n), scored=4) for n in (1, 2, 5)]
    after = [counts(pairs=[Pair("redo", 1.0)] * n, kl=n - 2.0, scored=4) for n in (1, 2, 5)]
    assert gain(before, after) == Gain(
        pair_accuracy=1.0, pair_interval=(1.0, 1.0), kl=-0.5, kl_interval=(-0.5, -0.5)
    )


def test_a_gain_in_some_prompts_alone_has_an_interval_that_holds_it():
    before = [counts(pairs=[Pair("redo", 0.0)]) for _ in range(40)]
    after = [*before[:30], *(counts(pairs=[Pair("redo", 1.0)]) for _ in range(10))]
    found = gain(before, after)
    assert found.pair_accuracy == 0.25
    low, high = found.pair_interval
    assert 0 < low < 0.25 < high < 0.5
    assert (found.kl, found.kl_interval) == (0.0, (0.0, 0.0))


def test_without_pairs_or_a_teacher_there_is_no_gain():
    bare = [counts(pairs=[], scored=0)]
    assert gain(bare, bare) == Gain(pair_accuracy=None, pair_interval=None, kl=None, kl_interval=None)


def test_certain_text_amplifies_a_lot_but_not_without_end():
    assert summarize([counts(chosen_logp=0.0)]).amplification == pytest.approx(1e6, rel=1e-3)
