"""Which rows an evaluation measures, and what it says of them."""

from __future__ import annotations

import pytest

from dorpo.align import hard
from dorpo.batches import Group
from dorpo.evaluation.measured_rows import MeasuredRows, of_origin
from dorpo.evaluation.origin import Origin
from dorpo.training.request import TrainingRefusedError

TRAINED, KEPT = frozenset({"a", "b"}), frozenset({"k"})


def groups(*sessions: str) -> list[Group]:
    """One for each word; "ab" is of two sessions, and counts for the first of them."""
    return [
        Group((1,), (2,), hard((2,)), (), session=found[0], rows=tuple(f"{n}{one}" for one in found))
        for n, found in enumerate(sessions)
    ]


def measured(
    *sessions: str, trained: frozenset[str] | None = TRAINED, held_out: frozenset[str] = KEPT
) -> MeasuredRows:
    found = groups(*sessions)
    of = {row: row[-1] for group in found for row in group.rows}
    return of_origin(found, of, Origin(trained=trained, held_out=held_out), held_out)


def names(rows: MeasuredRows) -> str:
    return "".join(group.session for group in rows.groups)


@pytest.mark.parametrize(
    ("sessions", "expected", "on", "since"),
    [
        ("ankm", "knm", "held-out rows and rows harvested since", 2),
        ("akbk", "kk", "held-out rows", 0),
        ("abn", "n", "rows harvested since", 1),
    ],
)
def test_what_was_held_out_comes_first_and_then_what_is_new(sessions, expected, on, since):
    rows = measured(*sessions)
    assert (names(rows), rows.on, rows.since) == (expected, on, since)


def test_new_rows_of_a_session_that_was_trained_on_are_not_unseen():
    assert names(measured("a", "k", "a")) == "k"


def test_a_text_that_a_trained_session_shares_is_not_unseen():
    assert names(measured("nb", "k", "mn")) == "km"


def test_without_held_out_sessions_new_ones_go_before_the_training_rows():
    rows = measured("a", "n", held_out=frozenset())
    assert (names(rows), rows.on) == ("n", "rows harvested since")
    rows = measured("a", "b", held_out=frozenset())
    assert (names(rows), rows.on) == ("ab", "training rows")


def test_a_training_that_does_not_tell_what_it_saw_is_measured_on_what_it_held_out_alone():
    rows = measured("a", "k", "n", trained=None)
    assert (names(rows), rows.on, rows.since) == ("k", "held-out rows", 0)
    rows = measured("a", "n", trained=None, held_out=frozenset())
    assert (names(rows), rows.on) == ("an", "training rows")


def test_a_dataset_with_nothing_unseen_is_refused_where_something_was_held_out():
    with pytest.raises(TrainingRefusedError, match="none of the rows that the training held out"):
        measured("a", "b")


def test_another_dataset_is_measured_and_that_is_said():
    rows = measured("x", "y")
    assert rows.on == "rows harvested since"
    (counts, foreign) = rows.notes(Origin(trained=TRAINED, held_out=KEPT, fingerprint="then"), "now")
    assert counts == "Prompts that the training held out: 0; of sessions harvested since: 2."
    assert foreign.startswith("The dataset has none of the sessions that the training knew")


@pytest.mark.parametrize(
    ("trained", "held_out", "end"),
    [
        (TRAINED, KEPT, "the same prompts are measured, as they are labelled now."),
        (None, KEPT, "only what it held out is measured."),
        (None, frozenset(), "all of it is measured."),
    ],
)
def test_a_dataset_that_changed_without_new_sessions_is_named(trained, held_out, end):
    rows = measured("a", "k", trained=trained, held_out=held_out)
    origin = Origin(trained=trained, held_out=held_out, fingerprint="then")
    (note,) = rows.notes(origin, "now")
    assert note.startswith("The dataset has changed since the training; ")
    assert note.endswith(end)
    assert not list(rows.notes(origin, "then"))
