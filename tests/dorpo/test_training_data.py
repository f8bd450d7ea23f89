"""What a training writes down about its rows."""

from __future__ import annotations

from dorpo.softlabels import TokenScore
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
        "by_labeller": {},
    }
    assert count_rows([]) == {"rows": 0, "by_reason": {}, "by_teacher": {}, "by_labeller": {}}


def test_whose_soft_labels_rows_have_is_counted_without_the_folder_of_a_models_file(store, story):
    told = story(store)
    rejected = told.rejected("error")
    chosen = told.accepted(soft=True)
    [row] = store.rows()
    assert count_rows([row])["by_labeller"] == {"teacher": 1}
    text = store.unlabelled_text(rejected)
    store.add_soft_labels(rejected, [TokenScore(text.response.encode(), -1.0, ())], "embedded//home/x/m.gguf")
    [row] = store.rows()
    assert (row.chosen_labels_by, row.rejected_labels_by) == ("teacher", "embedded//home/x/m.gguf")
    assert count_rows([row])["by_labeller"] == {"teacher": 1, "embedded/m.gguf": 1}
    assert store.unlabelled_text(chosen) is None
