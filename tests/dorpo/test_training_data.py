"""What a training writes down about its rows."""

from __future__ import annotations

from dorpo.training.data import count_rows


def test_rows_are_counted_by_reason_and_by_teacher_without_its_address(store, story):
    told = story(store, steps=2)
    told.rejected("error", 0)
    told.rejected("redo", 0)
    told.accepted(0, teacher="openai/small@http://127.0.0.1:8000/v1")
    told.accepted(1)
    assert count_rows(store.rows()) == {
        "rows": 3,
        "by_reason": {"error": 1, "redo": 1, "accepted at once": 1},
        "by_teacher": {"openai/small": 2, "teacher": 1},
    }
    assert count_rows([]) == {"rows": 0, "by_reason": {}, "by_teacher": {}}
