"""The codec of teachers' log-probabilities."""

from __future__ import annotations

import contextlib
import math
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.softlabels import TokenScore, agrees, decode, encode

# What SmolLM2-135M-Instruct thought of 1,000 tokens of an answer: a sentence, then a Python module.
RECORDED = Path(__file__).parent / "data" / "smollm2_top20.softlabels"

logprobs = st.floats(max_value=0.0, allow_nan=False, width=32)
entries = st.tuples(st.binary(max_size=6), logprobs)


@st.composite
def scores(draw: st.DrawFn) -> TokenScore:
    top = sorted(draw(st.lists(entries, max_size=20)), key=lambda entry: -entry[1])
    written = draw(st.one_of(entries, st.sampled_from(top)) if top else entries)
    return TokenScore(*written, tuple(top))


def stored(logprob: float) -> float:
    return float(np.float16(max(logprob, -60000.0)))


def as_stored(score: TokenScore) -> TokenScore:
    top = tuple((token, stored(logprob)) for token, logprob in score.top)
    return TokenScore(score.token, stored(score.logprob), top)


@given(st.lists(scores(), max_size=30))
def test_what_is_packed_comes_back_in_half_precision(tokens: list[TokenScore]) -> None:
    assert decode(encode(tokens)) == [as_stored(score) for score in tokens]


@given(st.lists(scores(), max_size=30))
def test_packing_again_changes_nothing(tokens: list[TokenScore]) -> None:
    packed = encode(tokens)
    assert encode(decode(packed)) == packed


def test_real_labels_take_at_most_seventy_bytes_a_token() -> None:
    tokens = decode(RECORDED.read_bytes())
    assert len(tokens) == 1000
    assert all(len(score.top) == 20 for score in tokens)
    assert len(encode(tokens)) <= 70 * len(tokens)


def test_half_precision_does_not_move_the_likelihood_of_a_response() -> None:
    logprobs = [-((index * 0.618) % 1) * 12 for index in range(1000)]
    back = decode(encode([TokenScore(b"x", logprob, ()) for logprob in logprobs]))
    assert sum(score.logprob for score in back) == pytest.approx(sum(logprobs), abs=0.05)


def test_sentinels_of_apis_stay_finite_and_far_away() -> None:
    tokens = [TokenScore(b"a", -9999.0, ((b"b", -0.1), (b"c", -math.inf)))]
    (score,) = decode(encode(tokens))
    assert score.logprob == pytest.approx(-9999, abs=8)
    assert score.top[1][1] == pytest.approx(-60000, abs=32)


def test_a_hair_above_zero_is_certainty() -> None:
    assert decode(encode([TokenScore(b"a", 1e-7, ())]))[0].logprob == 0.0


def test_unsorted_entries_are_sorted_and_those_after_the_twentieth_dropped() -> None:
    top = tuple((bytes([index]), -float(index)) for index in range(25))
    (score,) = decode(encode([TokenScore(b"\x00", 0.0, tuple(reversed(top)))]))
    assert score.top == top[:20]


def test_more_strings_than_two_bytes_can_number() -> None:
    tokens = [TokenScore(index.to_bytes(3), -1.0, ()) for index in range(70_000)]
    assert decode(encode(tokens)) == tokens


def test_not_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        encode([TokenScore(b"a", math.nan, ())])


def test_an_endless_token_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        encode([TokenScore(b"a" * 70_000, -1.0, ())])


@given(st.binary(max_size=200))
def test_damaged_bytes_are_refused_and_never_crash(noise: bytes) -> None:
    for data in (noise, zlib.compress(noise)):
        with pytest.raises(ValueError, match="soft labels"):
            decode(data)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=255))
def test_a_changed_byte_is_refused_or_read_but_never_crashes(place: int, value: int) -> None:
    raw = bytearray(zlib.decompress(encode([TokenScore(b"ab", -1.0, ((b"ab", -1.0), (b"c", -2.0)))] * 3)))
    raw[place % len(raw)] = value
    with contextlib.suppress(ValueError):
        decode(zlib.compress(bytes(raw)))


def test_a_newer_format_is_named() -> None:
    raw = bytearray(zlib.decompress(encode([])))
    raw[0] = 9
    with pytest.raises(ValueError, match="format 9"):
        decode(zlib.compress(bytes(raw)))


def test_tokens_agree_with_their_text_even_when_a_character_is_split() -> None:
    tokens = [TokenScore(b"\xc3", -1.0, ()), TokenScore(b"\xa9t", -1.0, ())]
    assert agrees(tokens, "ét")
    assert not agrees(tokens, "ét\n")
