"""What a session leaves in the dataset."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dorpo.rendering import render_prompt
from dorpo.softlabels import decode
from dorpo.store import AttemptRecord, Store, StoreError

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story


def select(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Look with nothing but the standard library, as any other tool would."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_the_chosen_fills_every_row_of_the_step(store: Store, story: type[Story]) -> None:
    session = story(store)
    first = session.rejected("error")
    second = session.rejected("redo", cause="error")
    third = session.rejected("further_edit", cause="redo")
    assert list(store.rows()) == []
    fourth = session.accepted(cause="further_edit", teacher="other")
    rows = list(store.rows())
    assert [row.reason for row in rows] == ["error", "redo", "further_edit"]
    for row, rejected in zip(rows, (first, second, third), strict=True):
        assert row.prompt == render_prompt("instruction 0 of session", "print('session')\n")
        assert fourth in row.chosen
        assert rejected in (row.rejected or "")
        assert (row.session, row.step, row.cycle, row.teacher) == ("session", 0, 4, "other")


def test_a_step_accepted_at_once_is_one_row_without_a_rejected(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.accepted()
    (row,) = store.rows()
    assert (row.rejected, row.reason, row.cycle) == (None, None, 1)


def test_an_amended_text_is_chosen_and_the_workers_own_rejected(store: Store, story: type[Story]) -> None:
    session = story(store)
    redone = session.rejected("redo")
    worker = session.attempt(cause="redo", soft=True)
    user = session.accepted(cause="amended", teacher="user")
    rows = list(store.rows())
    assert [row.reason for row in rows] == ["redo", "amended"]
    assert redone in (rows[0].rejected or "")
    assert worker in (rows[1].rejected or "")
    assert rows[1].rejected_soft_labels is not None
    assert all(user in row.chosen and row.chosen_soft_labels is None for row in rows)


def test_the_amended_row_is_written_once(store: Store, story: type[Story]) -> None:
    session = story(store)
    worker = session.attempt()
    row = store.reject(worker, "amended")
    user = session.attempt(cause="amended", teacher="user")
    assert store.accept("session", 0, user) == [row]


def test_a_step_solved_by_hand_is_chosen_too(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.rejected("error")
    by_hand = session.accepted(cause="by_hand", teacher="user")
    (row,) = store.rows()
    assert by_hand in row.chosen
    assert row.reason == "error"


def test_rejecting_and_accepting_again_changes_nothing(store: Store, story: type[Story]) -> None:
    session = story(store)
    attempt = session.attempt()
    row = store.reject(attempt, "redo")
    assert store.reject(attempt, "redo") == row
    chosen = session.accepted(cause="redo")
    assert store.accept("session", 0, chosen) == [row]
    assert len(list(store.rows())) == 1


def test_rows_of_open_and_abandoned_steps_are_never_seen(store: Store, story: type[Story]) -> None:
    session = story(store, steps=3)
    session.rejected("redo", 0)
    session.rejected("redo", 1)
    session.accepted(2)
    store.abandon_step("session", 1)
    assert [row.step for row in store.rows()] == [2]
    stats = store.stats()
    assert (stats.rows, stats.open_rows) == (1, 2)


def test_an_accepted_step_stays_accepted(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.accepted()
    other = session.attempt(cause="redo")
    store.abandon_step("session", 0)
    with pytest.raises(StoreError, match="another attempt"):
        store.accept("session", 0, other)
    with pytest.raises(StoreError, match="accepted already"):
        store.reject(other, "redo")
    assert len(list(store.rows())) == 1


def test_an_abandoned_step_cannot_be_accepted(store: Store, story: type[Story]) -> None:
    session = story(store)
    attempt = session.attempt()
    store.abandon_step("session", 0)
    with pytest.raises(StoreError, match="abandoned"):
        store.accept("session", 0, attempt)


def test_an_attempt_of_another_step_cannot_be_accepted(store: Store, story: type[Story]) -> None:
    session = story(store, steps=2)
    attempt = session.attempt(1)
    with pytest.raises(StoreError, match="another step"):
        store.accept("session", 0, attempt)


def test_the_prompt_of_a_step_is_fixed(store: Store, story: type[Story]) -> None:
    story(store)
    store.fix_prompt("session", 0, instruction="instruction 0 of session", script="print('session')\n")
    with pytest.raises(StoreError, match="another prompt"):
        store.fix_prompt("session", 0, instruction="something else", script="print('session')\n")


def test_soft_labels_come_back(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.rejected("redo", soft=True)
    session.accepted(cause="redo", soft=True)
    (row,) = store.rows()
    assert decode(row.chosen_soft_labels or b"")[0].token.decode() == row.chosen
    assert decode(row.rejected_soft_labels or b"")[0].token.decode() == row.rejected


def test_a_snapshot_has_a_name_that_changes_with_the_rows(store: Store, story: type[Story]) -> None:
    story(store, "one").accepted()
    rows, name = store.snapshot()
    assert store.snapshot() == (rows, name)
    story(store, "two").accepted(soft=True)
    more, other = store.snapshot()
    assert more[0] == rows[0]
    assert other != name


def test_many_rows_are_read_in_order_and_while_others_are_written(store: Store, story: type[Story]) -> None:
    for number in range(70):
        session = story(store, f"s{number}")
        session.rejected("redo")
        session.accepted(cause="redo")
    reading = store.rows()
    first = next(reading)
    with Store.open(store.path) as other:
        story(other, "late").accepted()
    rows = [first, *reading]
    assert [row.session for row in rows] == [f"s{number}" for number in range(70)] + ["late"]


def test_stats_count_what_there_is(store: Store, story: type[Story]) -> None:
    session = story(store, steps=2)
    session.rejected("error", 0)
    session.accepted(0, cause="error", soft=True)
    session.accepted(1, teacher="other")
    stats = store.stats()
    assert (stats.sessions, stats.steps, stats.attempts, stats.rows, stats.open_rows) == (1, 2, 3, 2, 0)
    assert (stats.with_rejected, stats.with_soft_labels) == (1, 1)
    assert stats.by_reason == {"error": 1}
    assert stats.by_teacher == {"teacher": 1, "other": 1}
    assert stats.path == store.path
    assert stats.size_bytes > 0


def test_any_sqlite_tool_reads_the_rows_as_plain_text(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.rejected("redo")
    chosen = session.accepted(cause="redo", soft=True)
    columns = "prompt, chosen, rejected, reason, teacher, cycle, has_soft_labels"
    ((prompt, answer, rejected, *rest),) = select(store.path, f"SELECT {columns} FROM dorpo")  # noqa: S608
    assert prompt == render_prompt("instruction 0 of session", "print('session')\n")
    assert chosen in str(answer)
    assert "session-0-1-worker" in str(rejected)
    assert rest == ["redo", "teacher", 2, 1]


def test_runs_feedback_and_agent_calls_are_kept(store: Store, story: type[Story]) -> None:
    attempt = story(store).attempt()
    store.add_run(attempt, backend="process", outcome="ok", exit_code=0, output="hi\n", seconds=0.1)
    store.add_feedback(attempt, words="fine", verdict="accepted", decided_by="analyzer")
    store.add_agent_call(
        "session",
        agent="worker",
        teacher="teacher",
        request="[]",
        response=None,
        status="unreadable",
        input_tokens=1,
        output_tokens=None,
        seconds=0.1,
        step=0,
        cycle=1,
    )
    store.end_session("session", "done")
    assert select(store.path, "SELECT outcome, exit_code FROM run") == [("ok", 0)]
    assert select(store.path, "SELECT words, decided_by FROM feedback") == [("fine", "analyzer")]
    assert select(store.path, "SELECT agent, status, response FROM agent_call") == [
        ("worker", "unreadable", None)
    ]
    assert select(store.path, "SELECT status, ended_at IS NULL FROM session") == [("done", 0)]


def test_equal_texts_are_stored_once(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.attempt()
    before = select(store.path, "SELECT count(*) FROM text WHERE body = 'print(''session'')' || char(10)")
    assert before == [(1,)]


def test_half_a_surrogate_pair_does_not_stop_a_session(store: Store, story: type[Story]) -> None:
    attempt = story(store).attempt()
    store.add_run(attempt, backend="process", outcome="ok", exit_code=0, output="a\ud83d", seconds=0.1)
    assert select(store.path, "SELECT body FROM run JOIN text ON text.id = run.output") == [("a?",)]


@pytest.mark.parametrize(
    ("cause", "author"), [("amended", "worker"), ("first", "user"), ("whim", "worker"), ("first", "nobody")]
)
def test_impossible_attempts_are_refused(store: Store, story: type[Story], cause: str, author: str) -> None:
    story(store)
    texts = {"instruction": "i", "base_script": "s", "response": "r", "reasoning": "r", "script": "s"}
    record = AttemptRecord(uid="a", cycle=1, cause=cause, author=author, teacher="t", **texts)
    with pytest.raises(StoreError):
        store.add_attempt("session", 0, record)
    assert store.stats().attempts == 0


def test_what_is_unknown_is_named(store: Store, story: type[Story]) -> None:
    with pytest.raises(StoreError, match="no session nowhere"):
        store.end_session("nowhere", "done")
    story(store)
    with pytest.raises(StoreError, match="no step 7"):
        store.abandon_step("session", 7)
    with pytest.raises(StoreError, match="no attempt nothing"):
        store.reject("nothing", "redo")
    with pytest.raises(StoreError, match="no training never"):
        store.finish_training("never", "done", 1, "{}", None)


def test_a_unit_of_work_is_stored_whole_or_not_at_all(store: Store, story: type[Story]) -> None:
    story(store, "one")
    with pytest.raises(StoreError):
        store.add_steps("one", ["new", "another"])
    assert store.stats().steps == 1


def test_a_training_remembers_its_rows(store: Store, story: type[Story]) -> None:
    story(store, "one").accepted()
    story(store, "two").accepted()
    rows, name = store.snapshot()
    uids = [row.uid for row in rows]
    store.start_training("t1", dataset_sha256=name, rows=uids, student="smol", config="{}", output="out")
    store.start_training("t2", dataset_sha256=name, rows=uids[1:], student="smol", config="{}", output="out")
    store.finish_training("t1", "cancelled", 3, '{"loss": 1}', None)
    found = select(store.path, "SELECT uid, status, last_step FROM training ORDER BY id")
    assert found == [("t1", "cancelled", 3), ("t2", "running", None)]
    assert store.delete_session("one") == ["t1"]
    assert store.delete_session("two") == ["t1", "t2"]


def test_deleting_leaves_nothing_behind(store: Store, story: type[Story]) -> None:
    kept = story(store, "kept")
    kept.accepted()
    session = story(store, "secret")
    attempt = session.rejected("redo", soft=True)
    store.add_run(attempt, backend="process", outcome="ok", exit_code=0, output="secret out", seconds=0.1)
    store.add_feedback(attempt, words="secret words", verdict="redo", decided_by="user")
    session.accepted(cause="redo", soft=True)
    assert store.delete_session("secret") == []
    assert [row.session for row in store.rows()] == ["kept"]
    for file in store.path.parent.iterdir():
        assert b"secret" not in file.read_bytes()
    tables = ("session", "step", "attempt", "pair", "run", "feedback", "soft_labels")
    counts = [select(store.path, f"SELECT count(*) FROM {table}")[0][0] for table in tables]  # noqa: S608
    assert counts == [1, 1, 1, 1, 0, 0, 0]


def test_a_flipped_bit_is_noticed(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.accepted()
    connection = sqlite3.connect(store.path)
    connection.execute("UPDATE text SET body = replace(body, 'reasoning of', 'reasoninG of')")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="damaged in the session session: delete that session"):
        list(store.rows())
