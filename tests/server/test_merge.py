from hypothesis import given
from hypothesis import strategies as st

from precision_shaking.merge import Merge, merge, opcodes, split

TEXTS = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "x = 1\n"]), max_size=12).map("".join)


def test_changes_in_different_places_are_both_kept():
    base = "one\ntwo\nthree\nfour\n"
    assert merge(base, "ONE\ntwo\nthree\nfour\n", "one\ntwo\nthree\nFOUR\n") == Merge(
        "ONE\ntwo\nthree\nFOUR\n", 0
    )


def test_the_same_change_on_both_sides_is_no_conflict():
    assert merge("one\ntwo\n", "ONE\ntwo\n", "ONE\ntwo\n") == Merge("ONE\ntwo\n", 0)
    both = merge("one\ntwo\nthree\nfour\n", "ONE\ntwo\nthree\nfour\n", "ONE\ntwo\nthree\nFOUR\n")
    assert both == Merge("ONE\ntwo\nthree\nFOUR\n", 0)


def test_different_changes_of_a_line_conflict_and_the_proposal_is_shown():
    assert merge("one\ntwo\nthree\n", "one\nmine\nthree\n", "one\nyours\nthree\n") == Merge(
        "one\nyours\nthree\n", 1
    )


def test_neighbouring_changes_conflict():
    assert merge("one\ntwo\n", "ONE\ntwo\n", "one\nTWO\n").conflicts == 1


def test_two_insertions_in_one_place_conflict():
    assert merge("a\nb\n", "a\nmine\nb\n", "a\nyours\nb\n").conflicts == 1


def test_a_conflict_keeps_the_users_other_changes():
    base = "one\ntwo\nthree\nfour\n"
    merged = merge(base, "ONE\ntwo\nthree\nmine\n", "one\ntwo\nthree\nyours\n")
    assert merged == Merge("ONE\ntwo\nthree\nyours\n", 1)


def test_an_accepted_text_that_is_there_already_changes_nothing():
    assert merge("a\n", "a\nb\nmore\n", "a\nb\n").text in ("a\nb\nmore\n", "a\nb\n")
    assert merge("a\n", "b\n", "b\n") == Merge("b\n", 0)


def test_only_newlines_end_lines():
    assert split("a\x0cb\u2028c\n\nd") == ["a\x0cb\u2028c\n", "\n", "d"]
    assert split("") == []


@given(TEXTS, TEXTS)
def test_an_untouched_side_takes_over_the_other(base, changed):
    assert merge(base, base, changed) == Merge(changed, 0)
    assert merge(base, changed, base) == Merge(changed, 0)


@given(TEXTS, TEXTS, TEXTS)
def test_merging_does_not_depend_on_the_side_unless_it_conflicts(base, one, other):
    there, back = merge(base, one, other), merge(base, other, one)
    assert there.conflicts == back.conflicts
    if not there.conflicts:
        assert there.text == back.text


@given(TEXTS, TEXTS)
def test_applying_the_differences_gives_the_new_text(old, new):
    old_lines, new_lines = split(old), split(new)
    result, position = [], 0
    for i1, i2, j1, j2 in opcodes(old_lines, new_lines):
        result += old_lines[position:i1] + new_lines[j1:j2]
        position = i2
    assert result + old_lines[position:] == new_lines


def test_a_large_script_full_of_blank_lines_is_merged_at_once():
    base = "".join(f"x{n} = {n}\n\n" for n in range(5000))
    live, proposal = "# mine\n\n" + base, base + "\n# yours\n"
    assert merge(base, live, proposal) == Merge("# mine\n\n" + base + "\n# yours\n", 0)
