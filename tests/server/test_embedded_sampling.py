"""Choosing tokens and counting probabilities: numpy alone, no model."""

from __future__ import annotations

import numpy as np
import pytest

from precision_shaking.sape.embedded.probabilities import best_tokens, score_rows
from precision_shaking.sape.embedded.sampling import Sampler, Settings


def drawn(logits: list[float], count: int, **settings: object) -> list[int]:
    with Sampler(None, None, Settings(**settings)) as sampler:  # type: ignore[arg-type] # kinds vary by test
        return [sampler.choose(np.array(logits, np.float32)) for _ in range(count)]


def test_a_temperature_of_zero_takes_the_likeliest_token() -> None:
    assert drawn([0.0, 3.0, 2.9], 3) == [1, 1, 1]


def test_a_seed_makes_sampling_repeatable() -> None:
    logits = [1.0, 1.1, 0.9, 1.2]
    assert drawn(logits, 30, temperature=1.0, seed=7) == drawn(logits, 30, temperature=1.0, seed=7)
    assert len(set(drawn(logits, 60, temperature=1.0, top_p=1.0, seed=7))) == 4


def test_sampling_follows_the_softmax() -> None:
    tokens = drawn(list(np.log([0.5, 0.3, 0.2])), 6000, temperature=1.0, top_p=1.0, seed=1)
    assert np.bincount(tokens) / 6000 == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_top_k_and_top_p_leave_out_the_unlikely() -> None:
    logits = list(np.log([0.5, 0.3, 0.15, 0.05]))
    assert set(drawn(logits, 300, temperature=1.0, top_k=2, top_p=1.0, seed=1)) == {0, 1}
    assert set(drawn(logits, 300, temperature=1.0, top_p=0.85, seed=1)) == {0, 1, 2}
    assert set(drawn(logits, 300, temperature=1.0, top_p=0.0, seed=1)) == {0}


def test_the_repeat_penalty_is_off_by_default_and_makes_way_for_others() -> None:
    assert drawn([2.0, 1.9, -1.0], 3) == [0, 0, 0]
    assert drawn([2.0, 1.9, -1.0], 3, repeat_penalty=1.2) == [0, 1, 0]


def test_the_logits_of_the_context_are_left_alone() -> None:
    logits = np.array([2.0, 1.0], np.float32)
    with Sampler(None, None, Settings(repeat_penalty=1.5)) as sampler:
        sampler.choose(logits)
        sampler.choose(logits)
    assert logits.tolist() == [2.0, 1.0]


def test_scores_are_those_of_the_full_softmax() -> None:
    logits = np.random.default_rng(3).normal(0, 5, (4, 5000)).astype(np.float32)
    chosen = np.array([0, 17, 4999, 42], np.int32)
    exact = logits.astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    for row, scores in enumerate(score_rows(logits, chosen, 20)):
        order = np.argsort(-exact[row])[:20]
        assert scores.token == chosen[row]
        assert scores.logprob == pytest.approx(exact[row, chosen[row]], abs=1e-5)
        assert scores.top_tokens.tolist() == order.tolist()
        assert scores.top_logprobs == pytest.approx(exact[row, order], abs=1e-5)


def test_no_alternatives_and_more_than_there_are() -> None:
    logits = np.array([[1.0, 2.0, 3.0]], np.float32)
    assert best_tokens(logits, 0).shape == (1, 0)
    assert score_rows(logits, np.array([1], np.int32), 20)[0].top_tokens.tolist() == [2, 1, 0]
