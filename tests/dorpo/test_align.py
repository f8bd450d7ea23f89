"""Two tokenizations of one text, merged by bytes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.align import Chunk, Kind, Target, align, hard, merge
from dorpo.softlabels import TokenScore


class Words:
    """A vocabulary of given strings; a text begins with the longest of them that fits."""

    def __init__(self, *words: str) -> None:
        self.words = [word.encode() for word in words]
        self.packs_digits = any(len(word) > 1 and word.isdigit() for word in words)

    def id_of(self, piece: bytes) -> int | None:
        return self.words.index(piece) if piece in self.words else None

    def first_id(self, piece: bytes) -> int | None:
        fitting = [word for word in self.words if piece.startswith(word)]
        return self.words.index(max(fitting, key=len)) if fitting else None

    def encode(self, *words: str) -> tuple[list[int], list[bytes]]:
        return [self.words.index(word.encode()) for word in words], [word.encode() for word in words]


def score(token: str, p: float, **others: float) -> TokenScore:
    top = [(token.encode(), math.log(p)), *((other.encode(), math.log(q)) for other, q in others.items())]
    return TokenScore(token.encode(), math.log(p), tuple(sorted(top, key=lambda entry: -entry[1])))


def masses(target: Target | None) -> dict[int, float]:
    assert target is not None
    return dict(zip(target.ids, map(math.exp, target.logprobs), strict=True))


def cut(text: bytes, places: set[int]) -> list[bytes]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(ends)]


@given(st.binary(min_size=1, max_size=40), st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_chunks_cover_both_sides_and_are_smallest(text, student_cuts, teacher_cuts):
    student, teacher = cut(text, student_cuts), cut(text, teacher_cuts)
    chunks = merge(student, teacher)
    assert [chunk[0] for chunk in chunks] == [0, *(chunk[1] for chunk in chunks[:-1])]
    assert [chunk[2] for chunk in chunks] == [0, *(chunk[3] for chunk in chunks[:-1])]
    assert chunks[-1][1::2] == (len(student), len(teacher))
    for start, stop, first, last in chunks:
        assert b"".join(student[start:stop]) == b"".join(teacher[first:last])
    boundaries = [{sum(map(len, side[:n])) for n in range(len(side) + 1)} for side in (student, teacher)]
    assert len(chunks) == len(boundaries[0] & boundaries[1]) - 1


@given(st.binary(max_size=20), st.binary(max_size=20), st.sets(st.integers(0, 20)))
def test_texts_that_differ_are_merged_up_to_there(left, right, cuts):
    student, teacher = cut(left, cuts), [right[n : n + 1] for n in range(len(right))]
    for start, stop, first, last in merge(student, teacher):
        assert b"".join(student[start:stop]) == b"".join(teacher[first:last])
        assert b"".join(student[:stop]) == b"".join(teacher[:last])


def test_the_same_tokens_bring_the_alternatives_over():
    words = Words("a", "b", "c", "end")
    ids, pieces = words.encode("a", "b")
    result = align([*ids, 3], [*pieces, b""], [score("a", 0.6, b=0.3), score("b", 0.2, c=0.7)], words)
    assert result.kinds == (Kind.ONE_TO_ONE, Kind.ONE_TO_ONE, Kind.HARD)
    assert masses(result.targets[0]) == pytest.approx({0: 0.6, 1: 0.3})
    assert masses(result.targets[1]) == pytest.approx({2: 0.7, 1: 0.2})
    assert result.targets[1].ids == (2, 1)
    assert result.targets[2] == Target((3,), (0.0,))


def test_unknown_alternatives_go_to_their_first_token_or_the_tail():
    words = Words("a", "b", "c")
    teacher = [score("a", 0.4, bb=0.2, b=0.1, bc=0.05, z=0.1)]
    target = align([0], [b"a"], teacher, words).targets[0]
    assert masses(target) == pytest.approx({0: 0.4, 1: 0.35})


def test_broken_characters_and_empty_alternatives_go_to_the_tail():
    teacher = [TokenScore(b"a", math.log(0.5), ((b"a", math.log(0.5)), (b"\xe2", -2.0), (b"", -2.0)))]
    assert masses(align([0], [b"a"], teacher, Words("a")).targets[0]) == pytest.approx({0: 0.5})


def test_a_text_outside_the_top_is_part_of_its_target():
    teacher = [TokenScore(b"a", math.log(0.01), ((b"b", math.log(0.9)),))]
    assert masses(align([0], [b"a"], teacher, Words("a", "b")).targets[0]) == pytest.approx({1: 0.9, 0: 0.01})


def test_the_most_probable_alternatives_stay_and_the_text_always():
    words = Words("a", "b", "c", "d")
    teacher = [score("a", 0.05, b=0.4, c=0.3, d=0.2)]
    target = align([0], [b"a"], teacher, words, top_k=3).targets[0]
    assert target is not None
    assert target.ids == (1, 2, 0)


def test_different_cuts_keep_the_probability_of_the_text():
    words = Words("a", "bc", "d")
    ids, pieces = words.encode("a", "bc", "d")
    teacher = [score("ab", 0.5), score("c", 0.8), score("d", 0.9)]
    result = align(ids, pieces, teacher, words)
    assert result.kinds == (Kind.CHUNK, Kind.CHUNK, Kind.ONE_TO_ONE)
    assert result.targets[:2] == (None, None)
    assert result.chunks == (Chunk(0, 2, pytest.approx(math.log(0.4))),)


def test_tokens_without_bytes_are_passed_over_in_the_teacher():
    teacher = [score("a", 0.5), TokenScore(b"", -0.1, ())]
    result = align([0, 1], [b"a", b""], teacher, Words("a", "end"))
    assert result.kinds == (Kind.ONE_TO_ONE, Kind.HARD)


def test_what_was_changed_after_scoring_is_hard():
    words = Words("a", "b", "c")
    ids, pieces = words.encode("a", "b", "c")
    result = align(ids, pieces, [score("a", 0.5), score("c", 0.5), score("c", 0.5)], words)
    assert result.kinds == (Kind.ONE_TO_ONE, Kind.HARD, Kind.HARD)


@pytest.mark.parametrize("logprob", [-9999.0, -math.inf, 0.5])
def test_numbers_that_are_no_probabilities_make_a_hard_label(logprob):
    teacher = [TokenScore(b"a", logprob, ()), TokenScore(b"b", -0.1, ()), TokenScore(b"c", logprob, ())]
    words = Words("a", "bc")
    result = align([0, 1], [b"a", b"bc"], teacher, words)
    assert result.kinds == (Kind.HARD, Kind.HARD)
    assert result.chunks == ()


def test_alternatives_with_more_than_all_the_mass_make_a_hard_label():
    assert align([0], [b"a"], [score("a", 0.9, b=0.9)], Words("a", "b")) == hard([0])


def test_rounding_above_one_is_forgiven():
    result = align([0], [b"a"], [score("a", 0.7, b=0.304)], Words("a", "b"))
    assert result.kinds == (Kind.ONE_TO_ONE,)


def test_digits_stay_in_the_tail_when_only_the_student_packs_them():
    words = Words("1", "2", "12")
    split = [score("1", 0.5, **{"2": 0.4})]
    assert masses(align([0], [b"1"], split, words).targets[0]) == pytest.approx({0: 0.5})
    packed = [score("1", 0.5, **{"2": 0.3, "12": 0.1})]
    assert masses(align([0], [b"1"], packed, words).targets[0]) == pytest.approx({0: 0.5, 1: 0.3, 2: 0.1})


def test_without_a_teacher_everything_is_hard():
    assert align([0, 1], [b"a", b""], [], Words("a")) == hard([0, 1])
    assert hard([7]).targets == (Target((7,), (0.0,)),)
