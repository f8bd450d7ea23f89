"""Soft labels that a text is given after it was stored, and whose they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from dorpo.softlabels import TokenScore, decode
from dorpo.store import Store, StoreError, Unlabelled


def label(store: Store, uid: str, model: str = "embedded/scorer", logprob: float = -2.0) -> bool:
    text = store.unlabelled_text(uid)
    response = text.response if text else "labelled already"
    return store.add_soft_labels(uid, [TokenScore(response.encode(), logprob, ())], model)


def test_a_text_without_soft_labels_is_given_some_once(store, story):
    told = story(store)
    rejected, chosen = told.rejected("error"), told.accepted()
    before = next(store.rows())
    assert store.unlabelled() == store.unlabelled("session")
    assert store.unlabelled() == [Unlabelled(rejected, "teacher"), Unlabelled(chosen, "teacher")]
    assert store.unlabelled_text(chosen).prompt == before.prompt
    assert store.unlabelled_text(chosen).response == before.chosen
    assert label(store, chosen)
    assert not label(store, chosen, "embedded/other", -5.0)
    row = next(store.rows())
    assert decode(row.chosen_soft_labels)[0].logprob == -2.0
    assert (row.chosen_labels_by, row.rejected_labels_by) == ("embedded/scorer", None)
    assert [one.uid for one in store.unlabelled()] == [rejected]
    assert store.stats().by_labeller == {"embedded/scorer": 1}
    assert store.stats().by_teacher == {"teacher": 1}
    assert store.tally("session").labelled == 1
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT soft_labels_by, updated_at >= created_at FROM dorpo").fetchall() == [
            ("embedded/scorer", 1)
        ]


def test_only_texts_that_can_be_in_a_row_are_asked_for(store, story):
    told = story(store, steps=3)
    told.attempt(0)  # not answered yet
    waiting = told.rejected("redo", 1)
    told.rejected("redo", 2)
    store.abandon_step("session", 2)
    scored = story(store, "other").accepted(soft=True)
    assert [one.uid for one in store.unlabelled()] == [waiting]
    assert store.unlabelled("other") == []
    assert store.unlabelled_text(scored) is None


def test_a_text_of_the_users_is_told_with_the_teacher_whose_text_they_changed(store, story):
    told = story(store, steps=2)
    told.attempt(teacher="openai/first", soft=True)
    amended = told.accepted(cause="amended", teacher="user")
    by_hand = told.accepted(1, cause="by_hand", teacher="user")
    assert store.unlabelled() == [Unlabelled(amended, "openai/first"), Unlabelled(by_hand, None)]


def test_what_was_deleted_meanwhile_is_not_labelled(store, story):
    chosen = story(store).accepted()
    store.delete_session("session")
    assert store.unlabelled_text(chosen) is None
    with pytest.raises(StoreError, match="may have been deleted"):
        store.add_soft_labels(chosen, [TokenScore(b"x", -1.0, ())], "embedded/scorer")
    with pytest.raises(StoreError, match="no session"):
        store.unlabelled("session")


def test_labels_from_before_are_the_workers_teachers(store, story, older: Callable[[str], Path]):
    told = story(store, steps=2)
    told.attempt(teacher="openai/first", soft=True)
    told.accepted(cause="amended", teacher="user", soft=True)
    told.accepted(1, cause="by_hand", teacher="user", soft=True)  # no teacher gave a readable answer
    with Store.open(older("0006_labellers")) as opened:
        [amended, by_hand] = opened.rows()
        assert opened.stats().by_labeller == {"openai/first": 1, "unknown": 1}
    assert (amended.teacher, amended.chosen_labels_by) == ("user", "openai/first")
    assert amended.rejected_labels_by == "openai/first"
    assert by_hand.chosen_soft_labels is not None
    assert by_hand.chosen_labels_by is None
