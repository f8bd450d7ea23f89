"""What the agents' calls took, and what came of them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dorpo.cli import main
from dorpo.export import Exported, export_calls
from dorpo.store import AGENTS, Store, StoreError, Usage
from dorpo.store.connection import open_database
from dorpo.store.schema import migrations

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story


def outcomes(store: Store, agent: str) -> list[tuple[int | None, int | None, str]]:
    return [(call.step, call.cycle, call.outcome) for call in store.agent_calls(agent)]


@pytest.fixture
def told(store: Store, story: type[Story]) -> Story:
    """Two steps: the first accepted after an error and a redo that was first misread, the second given up."""
    session = story(store, steps=2)
    session.call("planner", cost=0.5)
    for cause, reason in (("first", "error"), ("error", "redo")):
        session.call("lead", 0, cost=0.25)
        session.call("worker", 0)
        session.rejected(reason, 0, cause=cause)
    session.call("lead", 0)
    session.call("worker", 0, response="the same script again")
    session.call("worker", 0)
    chosen = session.attempt(0, cause="redo")
    session.call("analyzer", 0, cycle=3, response="unclear")
    session.call("analyzer", 0, cycle=3, response="accepted")
    store.add_feedback(chosen, words="fine", verdict="accepted", decided_by="analyzer")
    store.accept("session", 0, chosen)
    session.call("lead", 1, teacher="other")
    session.call("worker", 1, status="unreadable", teacher="other")
    store.abandon_step("session", 1)
    store.end_session("session", "done")
    return session


@pytest.mark.usefixtures("told")
def test_every_call_ends_as_the_attempt_it_led_to(store: Store) -> None:
    assert outcomes(store, "planner") == [(None, None, "partly_accepted")]
    assert outcomes(store, "lead") == [
        (0, 1, "error"),
        (0, 2, "redo"),
        (0, 3, "accepted"),
        (1, 1, "abandoned"),
    ]
    assert outcomes(store, "worker") == [
        (0, 1, "error"),
        (0, 2, "redo"),
        (0, 3, "discarded"),
        (0, 3, "accepted"),
    ]
    assert outcomes(store, "analyzer") == [(0, 3, "unclear"), (0, 3, "accepted")]


def test_what_is_still_open_has_no_outcome(store: Store, story: type[Story]) -> None:
    session = story(store)
    session.call("planner")
    session.call("lead", 0)
    session.call("worker", 0)
    session.attempt(0)
    session.call("analyzer", 0, cycle=1)
    assert [outcomes(store, agent) for agent in AGENTS] == [[], [], [], []]
    store.end_session("session", "crashed")
    assert [outcomes(store, agent) for agent in AGENTS] == [[], [], [], []]
    store.end_session("session", "abandoned")
    assert outcomes(store, "planner") == [(None, None, "abandoned")]
    assert outcomes(store, "lead") == outcomes(store, "worker") == [(0, 1, "abandoned")]


def test_amended_and_solved_by_hand(store: Store, story: type[Story]) -> None:
    session = story(store, steps=2)
    for step in (0, 1):
        session.call("lead", step)
        session.call("worker", step)
    session.attempt(0)
    session.accepted(0, cause="amended", teacher="user")
    session.accepted(1, cause="by_hand", teacher="user")
    store.end_session("session", "done")
    assert outcomes(store, "worker") == [(0, 1, "amended"), (1, 1, "discarded")]
    assert outcomes(store, "lead") == [(0, 1, "amended"), (1, 1, "by_hand")]


@pytest.mark.usefixtures("told")
def test_a_corrected_verdict_is_the_outcome(store: Store) -> None:
    store.relabel("session-0-3-worker", "redo")
    assert outcomes(store, "analyzer")[-1] == (0, 3, "redo")
    assert outcomes(store, "worker")[-1] == (0, 3, "redo")


def test_more_calls_than_a_slice_are_all_read(store: Store, story: type[Story]) -> None:
    for number in range(70):
        session = story(store, f"s{number}")
        session.call("planner")
        if number % 2:
            store.end_session(session.uid, "abandoned")
    assert len(outcomes(store, "planner")) == 35


@pytest.mark.usefixtures("told")
def test_a_damaged_call_is_not_exported(store: Store) -> None:
    with sqlite3.connect(store.path) as db:
        db.execute("UPDATE text SET body = replace(body, 'asks the lead', 'asks the lord')")
    with pytest.raises(StoreError, match="damaged in the session session"):
        list(store.agent_calls("lead"))


def test_calls_are_exported_as_prompt_and_completion_without_credentials(
    store: Store, story: type[Story], tmp_path: Path
) -> None:
    key = "AK" + "IA" + "ABCDEFGHIJKLMN23"
    session = story(store)
    session.call("lead", 0, response=f"use {key}")
    session.accepted()
    output = tmp_path / "lead.jsonl"
    assert export_calls(store.agent_calls("lead"), output) == Exported(written=1, skipped=0, redacted=1)
    assert json.loads(output.read_text()) == {
        "prompt": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "asks the lead"},
        ],
        "completion": [{"role": "assistant", "content": "use <SECRET:aws-access-key>"}],
        "outcome": "accepted",
        "agent": "lead",
        "teacher": "teacher",
        "session": "session",
        "step": 0,
        "cycle": 1,
    }


@pytest.mark.usefixtures("told")
def test_export_of_an_agent_by_the_command(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "worker.jsonl"
    command = ["export", "--db", str(store.path), "--output", str(output), "--agent", "worker", "--format"]
    assert main([*command, "trl"]) == 0
    assert capsys.readouterr().err == f"4 calls written to {output}.\n"
    assert main([*command, "openai"]) == 2
    assert "--format trl" in capsys.readouterr().err


@pytest.mark.usefixtures("told")
def test_usage_is_summed_for_each_step_agent_and_teacher(store: Store) -> None:
    parts = {(part.step, part.agent, part.teacher): part for part in store.usage("session")}
    lead = parts[0, "lead", "teacher"]
    assert (lead.calls, lead.input_tokens, lead.output_tokens, lead.seconds) == (3, 300, 30, 1.5)
    assert (lead.cost_usd, lead.unpriced_calls) == (0.5, 1)
    assert parts[0, "worker", "teacher"].cost_usd is None
    assert parts[1, "worker", "other"].calls == 1
    total = Usage.total(parts.values())
    assert (total.session, total.step, total.agent, total.calls) == ("session", None, None, 12)
    assert (total.cost_usd, total.unpriced_calls) == (1.0, 9)


def test_usage_of_all_sessions_and_of_none(store: Store, story: type[Story]) -> None:
    for name in ("one", "two"):
        story(store, name).call("planner", cost=0.0)
    assert [part.session for part in store.usage()] == ["one", "two"]
    assert [part.session for part in store.usage("two")] == ["two"]
    with pytest.raises(StoreError, match="no session three"):
        store.usage("three")


@pytest.mark.parametrize(
    ("usage", "words"),
    [
        (
            Usage(calls=12, input_tokens=8410, output_tokens=1920, seconds=41.2, cost_usd=0.0132),
            "12 calls, 8,410 tokens in, 1,920 out, 41 s, $0.0132",
        ),
        (Usage(calls=1, cost_usd=2.0, unpriced_calls=1), "1 call, 0 tokens in, 0 out, 0 s, $2.0000 or more"),
        (Usage(calls=2, cost_usd=0.0), "2 calls, 0 tokens in, 0 out, 0 s"),
        (Usage(calls=2, unpriced_calls=2), "2 calls, 0 tokens in, 0 out, 0 s"),
    ],
)
def test_money_is_said_where_some_was_paid(usage: Usage, words: str) -> None:
    assert usage.words == words


def test_a_dataset_from_before_costs_gets_the_column(tmp_path: Path, story: type[Story]) -> None:
    path = tmp_path / "dataset.db"
    with Store.open(path) as store:
        story(store).call("planner")
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE agent_call DROP COLUMN cost_usd")
        db.execute("DELETE FROM _sqlite_migrations WHERE name = '0004_cost'")
    with Store.open(path) as store:
        assert [part.cost_usd for part in store.usage()] == [None]
    database = open_database(path, create=False)
    assert not migrations.pending(database)
    database.conn.close()
