"""The drafter alone: whatever the answer, its guesses are pieces of the source, and few of them are wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from precision_shaking.sape.embedded.drafting import Drafter

TOKENS = st.lists(st.integers(0, 6), max_size=120)
SOURCE = list(range(100, 400))


def passes(source: Sequence[int], answer: Sequence[int], most: int = 63) -> tuple[int, int]:
    """How many decodes the answer takes, and how many guessed tokens were wrong."""
    drafter, at, decodes, wrong = Drafter(source), 0, 0, 0
    while at < len(answer):
        guess = drafter.propose(min(most, len(answer) - at - 1))
        good = next((n for n, token in enumerate(guess) if token != answer[at + n]), len(guess))
        for token in answer[at : at + good + 1]:
            drafter.confirm(token)
        decodes, wrong, at = decodes + 1, wrong + len(guess) - good, at + good + 1
    return decodes, wrong


@given(source=TOKENS, answer=TOKENS, most=st.integers(-1, 40))
def test_a_guess_is_a_piece_of_the_source_and_no_longer_than_asked(
    source: list[int], answer: list[int], most: int
) -> None:
    drafter = Drafter(source)
    for token in answer:
        guess = drafter.propose(most)
        assert len(guess) <= max(0, most)
        assert guess == [] or any(
            guess == source[at : at + len(guess)] for at in range(len(source) - len(guess) + 1)
        )
        drafter.confirm(token)


@given(source=TOKENS, answer=TOKENS)
def test_the_same_tokens_give_the_same_guesses(source: list[int], answer: list[int]) -> None:
    one, other = Drafter(source), Drafter(tuple(source))
    for token in answer:
        assert one.propose(40) == other.propose(40)
        one.confirm(token)
        other.confirm(token)


@given(source=st.lists(st.integers(), unique=True, min_size=1, max_size=300))
def test_a_copy_is_guessed_from_its_first_token_to_its_last(source: list[int]) -> None:
    decodes, wrong = passes(source, source)
    assert wrong == 0
    assert decodes <= 3 + len(source) // 24


@pytest.mark.parametrize(
    "answer",
    [
        [*SOURCE[:150], 1, 2, 3, 4, 5, *SOURCE[150:]],
        SOURCE[:150] + SOURCE[190:],
        [*SOURCE[:150], 1, *SOURCE[151:]],
        [1, 2, 3, *SOURCE],
        SOURCE[200:] + SOURCE[:200],
    ],
    ids=["inserted", "deleted", "replaced", "preceded", "moved"],
)
def test_it_finds_its_place_again_behind_a_change(answer: list[int]) -> None:
    decodes, wrong = passes(SOURCE, answer)
    assert decodes <= 32
    assert wrong <= 35


def test_among_equal_places_the_one_behind_the_last_copy_is_tried() -> None:
    line = [1, 2, 3, 4]
    source = [10, *line, 11, 20, *line, 21, 30, *line, 31, 32, 33, 34, 35, 36]
    drafter = Drafter(source)
    for token in [10, *line, 11, 20, 99, *line]:  # the second of the three lines is being written
        drafter.confirm(token)
    assert drafter.propose(2) == [21, 30]


def test_places_that_prove_wrong_are_tried_ever_more_rarely() -> None:
    source = [n for block in range(40) for n in (1, 2, 3, 1000 + block)]
    answer = [n for block in range(200) for n in (1, 2, 3, 5000 + block)]
    decodes, wrong = passes(source, answer)
    assert wrong < 60
    assert decodes > len(answer) - 20


def test_an_empty_source_guesses_nothing() -> None:
    assert passes([], [1, 2, 3, 1, 2, 3, 1, 2, 3]) == (9, 0)
