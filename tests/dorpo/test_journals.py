"""What sessions are resumed from: units of work, journals, and who works on a session."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dorpo.store import Store, StoreError

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story


def begin(store: Store, uid: str = "resumable", settings: str | None = "{}") -> str:
    about = {"document": "a.py", "language": "python", "request": "r", "script": "s\n"}
    store.start_session(uid=uid, **about, instance="script", app_version="0.1.0", settings=settings)
    return uid


def test_a_unit_of_work_is_stored_whole_or_not_at_all(store: Store, story: type[Story]) -> None:
    session = story(store)

    def break_off() -> None:
        with store.transaction():
            store.add_event("session", "{}")
            session.rejected("redo")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert store.events("session") == []
    assert store.tally("session").rows == 0
    session.cycles[0] = 0
    with store.transaction():
        store.add_event("session", "{}")
        session.rejected("redo")
    assert (store.events("session"), store.tally("session").rows) == (["{}"], 1)


def test_a_part_that_is_refused_takes_the_whole_with_it(store: Store) -> None:
    begin(store)

    def refused() -> None:
        with store.transaction():
            store.add_event("resumable", "{}")
            store.reject("nothing", "redo")

    with pytest.raises(StoreError, match="no attempt"):
        refused()
    assert store.events("resumable") == []


def test_a_journal_keeps_its_order_and_goes_with_its_session(store: Store) -> None:
    begin(store)
    entries = [f'{{"n": {n}}}' for n in range(12)]
    for entry in entries:
        store.add_event("resumable", entry)
    assert store.events("resumable") == entries
    store.delete_session("resumable")
    connection = sqlite3.connect(store.path)
    assert connection.execute("SELECT count(*) FROM journal").fetchone() == (0,)
    connection.close()
    with pytest.raises(StoreError, match="no session"):
        store.events("resumable")


def test_unfinished_are_those_that_can_go_on(store: Store) -> None:
    for uid, status in (("open", None), ("crashed", "crashed"), ("done", "done"), ("left", "abandoned")):
        begin(store, uid)
        if status:
            store.end_session(uid, status)
    begin(store, "unkept", settings=None)
    assert [session.uid for session in store.unfinished()] == ["open", "crashed"]
    store.reopen("crashed")
    assert store.beginning("crashed").status == "open"
    store.reopen("done")
    assert store.beginning("done").status == "done"


def test_an_attempts_last_run_is_known(store: Store, story: type[Story]) -> None:
    uid = story(store).attempt(soft=True)
    assert store.attempt_run(uid).outcome is None
    for outcome in ("timeout", "ok"):
        store.add_run(uid, backend="process", outcome=outcome, exit_code=0, output="said", seconds=1.5)
    known = store.attempt_run(uid)
    assert (known.teacher, known.outcome, known.output, known.seconds) == ("teacher", "ok", "said", 1.5)
    assert store.has_soft_labels(uid)
    assert not store.has_soft_labels("nothing")
    with pytest.raises(StoreError, match="no attempt"):
        store.attempt_run("nothing")


def test_a_correction_waits_for_a_session_that_can_be_resumed(store: Store, story: type[Story]) -> None:
    session = story(store)
    redone = session.rejected("redo")
    store.add_feedback(redone, words="no", verdict="redo", decided_by="analyzer")
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE session SET settings = '{}'")
    connection.close()
    store.end_session("session", "crashed")
    store.relabel(redone, "accepted")
    assert list(store.rows()) == []
    store.end_session("session", "abandoned")
    assert [row.rejected for row in store.rows()] == [None]


HOLD = """
import sys
from pathlib import Path
from dorpo.store import Store
with Store.open(Path(sys.argv[1])) as store, store.hold("resumable"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_session_is_held_until_its_holder_is_gone_however_that_happens(store: Store) -> None:
    begin(store)
    assert not store.is_held("resumable")
    command = [sys.executable, "-c", HOLD, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        assert store.is_held("resumable")
        with pytest.raises(StoreError, match="running already"), store.hold("resumable"):
            pass
        holder.send_signal(signal.SIGKILL)
    assert not store.is_held("resumable")
    with store.hold("resumable"):
        store.end_session("resumable", "done")
    assert [path.name for path in store.path.parent.glob("*.resumable.lock")] == []


def test_a_uid_is_no_way_out_of_the_datasets_folder(store: Store) -> None:
    with store.hold("../../elsewhere"):
        assert store.is_held("../../elsewhere")
        assert not list(store.path.parent.parent.parent.glob("*elsewhere*"))


def test_a_dataset_of_the_first_version_opens_with_everything_in_it(
    store: Store, story: type[Story], older: Callable[[str], Path]
) -> None:
    session = story(store, steps=2)
    session.rejected("error", soft=True)
    session.accepted(cause="error", soft=True)
    session.attempt(1)
    with Store.open(older("0004_cost")) as opened:
        assert list(opened.rows()) == list(store.rows())
        assert opened.unfinished() == []
        assert opened.beginning("session").settings is None
        assert opened.tally("session") == store.tally("session")
        begin(opened)
        opened.add_event("resumable", "{}")
        assert [session.uid for session in opened.unfinished()] == ["resumable"]
