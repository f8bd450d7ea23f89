"""Texts of a group as a tree: nothing is lost, nothing stands twice, and no pass saves less than it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.trie import Trie, grow

pytestmark = pytest.mark.train

# Few letters, so that many beginnings are common.
TEXT = st.lists(st.integers(0, 2), min_size=1, max_size=12)
GROUPS = st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=6), st.integers(1, 8))


def segments(trie: Trie) -> list[tuple[int, int, str]]:
    return [(one.parent, one.begin, "".join(map(chr, one.ids))) for one in trie.segments]


def of(prompt: str, *responses: str, shortest: int = 1) -> Trie:
    return grow([*map(ord, prompt)], [[*map(ord, response)] for response in responses], shortest=shortest)


def test_a_common_beginning_stands_once_at_every_depth():
    trie = of("p", "abcx.", "abdy.", "abdz.", "q.")
    assert segments(trie) == [
        (-1, 0, "p"),
        (0, 1, "ab"),
        (1, 3, "cx"),
        (1, 3, "d"),
        (3, 4, "y"),
        (3, 4, "z"),
        (0, 1, "q"),
    ]
    assert trie.paths == ((0, 1, 2), (0, 1, 3, 4), (0, 1, 3, 5), (0, 6))


def test_what_all_responses_begin_with_goes_with_the_prompt_however_short():
    trie = of("p", "abx.", "aby.", "abz.", shortest=100)
    assert segments(trie) == [(-1, 0, "pab"), (0, 3, "x"), (0, 3, "y"), (0, 3, "z")]


def test_responses_part_company_where_staying_together_saves_too_little():
    # "abc" saves three tokens to two of them, "ab" two to each of two.
    texts = ("abcx.", "abcy.", "abz.", "q.")
    assert [text for *_, text in segments(of("p", *texts, shortest=4))] == ["p", "ab", "cx", "cy", "z", "q"]
    assert [text for *_, text in segments(of("p", *texts, shortest=5))] == ["p", "abcx", "abcy", "abz", "q"]
    assert [text for *_, text in segments(of("p", "abz.", *texts[:2], "ay.", "q.", shortest=3))] == [
        "p",
        "a",
        "bz",
        "bcx",
        "bcy",
        "y",
        "q",
    ]


def test_two_may_stay_together_where_three_do_not():
    trie = of("p", "abcdx.", "abcdy.", "az.", "q.", shortest=4)
    assert [text for *_, text in segments(trie)] == ["p", "abcd", "x", "y", "az", "q"]


def test_a_response_may_end_inside_another():
    trie = of("p", "ab.", "abcd.", "q.")
    assert segments(trie) == [(-1, 0, "p"), (0, 1, "ab"), (1, 3, "cd"), (0, 1, "q")]
    assert trie.paths == ((0, 1), (0, 1, 2), (0, 3))


def test_the_last_token_predicts_nothing_and_is_not_read():
    assert segments(of("p", "a.", "a!", "b")) == [(-1, 0, "p"), (0, 1, "a")]


@given(GROUPS)
def test_paths_give_the_texts_back(group):
    prompt, responses, shortest = group
    trie = grow(prompt, responses, shortest=shortest)
    for path, response in zip(trie.paths, responses, strict=True):
        assert [token for number in path for token in trie.segments[number].ids] == prompt + response[:-1]
        for above, number in zip((-1, *path), path, strict=False):
            assert trie.segments[number].parent == above


@given(GROUPS)
def test_segments_stand_depth_first_and_go_on_where_their_parents_end(group):
    prompt, responses, shortest = group
    trie = grow(prompt, responses, shortest=shortest)
    line: list[int] = []
    for number, segment in enumerate(trie.segments):
        assert segment.ids
        while line and line[-1] != segment.parent:
            line.pop()
        above = trie.segments[line[-1]] if line else None
        assert segment.parent == (line[-1] if line else -1)
        assert segment.begin == (above.begin + len(above.ids) if above else 0)
        line.append(number)


@given(GROUPS)
def test_a_segment_saves_what_it_must_or_costs_no_pass(group):
    prompt, responses, shortest = group
    trie = grow(prompt, responses, shortest=shortest)
    for number, segment in enumerate(trie.segments[1:], 1):
        members = [response for path, response in zip(trie.paths, responses, strict=True) if number in path]
        same = all(member[:-1] == members[0][:-1] for member in members)
        assert same or len(segment.ids) * (len(members) - 1) >= shortest


@given(GROUPS)
def test_never_more_is_read_than_with_the_prompt_shared_alone_nor_less_than_all_beginnings(group):
    prompt, responses, shortest = group
    texts = [tuple(response[:-1]) for response in responses]
    beginnings = {text[: place + 1] for text in texts for place in range(len(text))}
    assert grow(prompt, responses, shortest=1).tokens == len(prompt) + len(beginnings)
    most = len(prompt) + sum(map(len, texts))
    assert len(prompt) + len(beginnings) <= grow(prompt, responses, shortest=shortest).tokens <= most
