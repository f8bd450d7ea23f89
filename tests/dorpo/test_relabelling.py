"""Correcting a verdict: what it makes of the attempt's label and of its step's rows, as a table."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from dorpo.cli import main
from dorpo.store import Store, StoreError

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story

# A row as (rejected, reason, chosen), attempts by their cycle; the user's own text is "user".
Rows = list[tuple[str | None, str | None, str | None]]


class Told:
    """Tells a session of one step in verdicts, and looks at its rows as they are on disk."""

    def __init__(self, store: Store, session: Story) -> None:
        self.store = store
        self.session = session
        self.names: dict[str, str] = {}

    def hear(self, verdict: str, *, amended: bool = False) -> str:
        """The worker makes an attempt, and the analyzer reads this verdict."""
        uid = self.session.attempt()
        self.names[uid] = str(len(self.names) + 1)
        self.store.add_feedback(uid, words="hm", verdict=verdict, decided_by="analyzer")
        if verdict != "accepted":
            self.store.reject(uid, verdict)
            return uid
        chosen = uid
        if amended:
            chosen = self.session.attempt(cause="amended")
            self.names[chosen] = "user"
        self.store.accept("session", 0, chosen)
        return uid

    def fail(self) -> None:
        """The worker makes an attempt that does not run."""
        self.names[self.session.rejected("error")] = str(len(self.names) + 1)

    def rows(self) -> Rows:
        sql = """
        SELECT rejected.uid, reason, chosen.uid FROM pair
        LEFT JOIN attempt AS rejected ON rejected.id = rejected_id
        LEFT JOIN attempt AS chosen ON chosen.id = chosen_id ORDER BY rejected.cycle, pair.id
        """
        return [
            (self.names.get(rejected), reason, self.names.get(chosen))
            for rejected, reason, chosen in self.select(sql)
        ]

    def status(self) -> str:
        return str(self.select("SELECT status FROM step")[0][0])

    def select(self, sql: str) -> list[tuple[str, ...]]:
        with sqlite3.connect(self.store.path) as db:
            return db.execute(sql).fetchall()


@pytest.fixture
def told(store: Store, story: type[Story]) -> Told:
    return Told(store, story(store))


# What the analyzer read in each cycle ("!" amended by the user, "error" failed in the sandbox), how the
# session ended (None: it is still at it), which cycle is corrected to what → the step and its rows.
CASES: list[tuple[str, str | None, int, str, str, Rows]] = [
    # Only the reason changes, wherever the step stands.
    ("redo", None, 1, "further_edit", "open", [("1", "further_edit", None)]),
    ("further_edit", "abandoned", 1, "redo", "abandoned", [("1", "redo", None)]),
    ("redo accepted", "done", 1, "further_edit", "accepted", [("1", "further_edit", "2")]),
    # The same again.
    ("redo", None, 1, "redo", "open", [("1", "redo", None)]),
    ("error accepted", "done", 2, "accepted", "accepted", [("1", "error", "2")]),
    # What was accepted was not.
    ("accepted", None, 1, "redo", "abandoned", [("1", "redo", None)]),
    ("accepted", "done", 1, "further_edit", "abandoned", [("1", "further_edit", None)]),
    ("error accepted", "done", 2, "redo", "abandoned", [("1", "error", None), ("2", "redo", None)]),
    ("accepted!", "done", 1, "redo", "abandoned", [("1", "redo", None)]),
    # What was rejected was not, and the step has no chosen.
    ("redo", "abandoned", 1, "accepted", "accepted", [(None, None, "1")]),
    ("redo", "crashed", 1, "accepted", "accepted", [(None, None, "1")]),
    ("error redo", "abandoned", 2, "accepted", "accepted", [("1", "error", "2")]),
    ("redo further_edit", "abandoned", 1, "accepted", "accepted", [("2", "further_edit", "1")]),
    # … and it has one, which stays.
    ("redo accepted", "done", 1, "accepted", "accepted", [(None, None, "2")]),
    ("error redo accepted", "done", 2, "accepted", "accepted", [("1", "error", "3")]),
    # … and its session still works on it.
    ("redo", None, 1, "accepted", "open", []),
    ("error redo", None, 2, "accepted", "open", [("1", "error", None)]),
]


@pytest.mark.parametrize(("heard", "ended", "cycle", "verdict", "status", "rows"), CASES)
def test_a_corrected_verdict(
    told: Told, heard: str, ended: str | None, cycle: int, verdict: str, status: str, rows: Rows
) -> None:
    uids = play(told, heard, ended)
    told.store.relabel(uids[cycle - 1], verdict)
    assert (told.status(), told.rows()) == (status, rows)
    spoken = (
        "SELECT uid, verdict FROM feedback JOIN attempt ON attempt.id = attempt_id WHERE decided_by = 'user'"
    )
    assert told.select(spoken) == [(uids[cycle - 1], verdict)]


@pytest.mark.parametrize("heard", ["redo", "error further_edit", "error accepted", "accepted", "accepted!"])
@pytest.mark.parametrize("verdict", ["redo", "further_edit", "accepted"])
def test_a_correction_can_be_taken_back(told: Told, heard: str, verdict: str) -> None:
    uids = play(told, heard, "abandoned")
    before = told.rows()
    told.store.relabel(uids[-1], verdict)
    told.store.relabel(uids[-1], heard.split()[-1].rstrip("!"))
    assert told.rows() == before


def test_a_step_that_is_given_up_later_is_accepted_with_the_corrected_attempt(told: Told) -> None:
    told.fail()
    redone = told.hear("redo")
    told.store.relabel(redone, "accepted")
    told.fail()
    told.store.abandon_step("session", 0)
    assert told.rows() == [("1", "error", "2"), ("3", "error", "2")]
    assert len(list(told.store.rows())) == 2


def test_a_session_that_crashes_later_leaves_its_step_accepted(told: Told) -> None:
    told.store.relabel(told.hear("redo"), "accepted")
    told.store.end_session("session", "crashed")
    assert told.rows() == [(None, None, "1")]


def test_what_the_session_accepts_later_is_the_chosen(told: Told) -> None:
    told.store.relabel(told.hear("redo"), "accepted")
    told.hear("further_edit")
    told.hear("accepted")
    assert told.rows() == [("2", "further_edit", "3")]


def test_when_the_chosen_is_taken_back_another_accepted_attempt_takes_its_place(told: Told) -> None:
    first, second = play(told, "redo accepted", "done")
    told.store.relabel(first, "accepted")
    told.store.relabel(second, "redo")
    assert (told.status(), told.rows()) == ("accepted", [("2", "redo", "1")])


def test_a_row_keeps_its_name_so_that_trainings_still_know_it(told: Told) -> None:
    (accepted,) = play(told, "accepted", "done")
    before = told.select("SELECT uid FROM pair")
    told.store.relabel(accepted, "redo")
    assert told.select("SELECT uid FROM pair") == before


def test_there_must_be_a_verdict_to_correct_and_one_to_correct_it_to(told: Told) -> None:
    silent = told.session.attempt()
    with pytest.raises(StoreError, match="Nothing was said"):
        told.store.relabel(silent, "redo")
    with pytest.raises(StoreError, match="no attempt"):
        told.store.relabel("nothing", "redo")
    heard = told.hear("redo")
    with pytest.raises(StoreError):
        told.store.relabel(heard, "unclear")
    assert [reason for _, reason, _ in told.rows()] == ["redo"]


def test_the_command_does_it_too(told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    (redone,) = play(told, "redo", "abandoned")
    assert main(["relabel", redone, "accepted", "--db", str(told.store.path)]) == 0
    assert told.status() == "accepted"
    assert main(["relabel", "nothing", "redo", "--db", str(told.store.path)]) == 2
    assert "no attempt nothing" in capsys.readouterr().err


def play(told: Told, heard: str, ended: str | None) -> list[str]:
    """Tell a session; uids of the attempts in order, "" for one that failed."""
    uids = []
    for word in heard.split():
        if word == "error":
            told.fail()
            uids.append("")
        else:
            uids.append(told.hear(word.rstrip("!"), amended=word.endswith("!")))
    if ended is not None:
        # The engine closes the step before the session, except when it crashes.
        if ended != "crashed":
            told.store.abandon_step("session", 0)
        told.store.end_session("session", ended)
    return uids
