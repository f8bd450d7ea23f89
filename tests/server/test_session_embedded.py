"""A session with the model that needs no key: nothing is faked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dorpo.softlabels import agrees, decode
from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape.session import Session
from precision_shaking.sape.teachers import connect, parse_teacher
from precision_shaking.sape.wire import AnswerParams, HelpParams, StartParams

EXAMPLES = Path(__file__).parents[2] / "examples"
EMBEDDED = "embedded/smollm2"

pytestmark = pytest.mark.embedded


async def play(store, example, request, by_hand=None, **answer):
    """Run a session in which every proposal is answered alike, and return its events.

    `by_hand` is the user's own script where the only attempt of a step was not right.
    """
    events = []
    teacher = connect(parse_teacher(EMBEDDED))
    script = (EXAMPLES / example).read_text()

    def hear(event):
        events.append(event)
        if isinstance(event, e.ProposalReady):
            reply = AnswerParams(event.attempt, **{"verdict": "accepted", **answer})
            asyncio.get_running_loop().call_soon(session.answer, reply)
        elif isinstance(event, e.HelpNeeded) and by_hand is not None:
            asyncio.get_running_loop().call_soon(session.help, HelpParams("retry", script=by_hand))
        elif isinstance(event, e.HelpNeeded):
            session.stop()

    params = StartParams(example, script, request, (teacher.access,), max_attempts=1 if by_hand else 3)
    session = Session(params, [teacher], store, hear)
    await asyncio.wait_for(session.run(), 240)
    return events


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "dataset.db") as opened:
        yield opened


async def test_it_plans_instructs_and_writes_a_script_that_runs(store):
    events = await play(store, "total.py", "Use sum.")
    [finished] = [event for event in events if isinstance(event, e.SessionFinished)]
    assert finished.status == "done"
    assert 1 <= len(next(event.steps for event in events if isinstance(event, e.PlanReady))) <= 3
    [*_, run] = [event for event in events if isinstance(event, e.AttemptExecuted)]
    assert run.outcome == "ok"
    rows = list(store.rows())
    assert rows
    for row in rows:
        assert agrees(decode(row.chosen_soft_labels), row.chosen)
    assert {event.agent for event in events if isinstance(event, e.AgentText)} >= {
        "planner",
        "lead",
        "worker",
    }


async def test_it_says_the_same_again(store):
    plays = [await play(store, "greeting.py", "Use an f-string.") for _ in range(2)]
    first, second = (
        next(told.script for told in events if isinstance(told, e.SessionFinished)) for events in plays
    )
    assert first == second


async def test_an_amended_text_gets_soft_labels_of_its_own(store):
    await play(store, "total.py", "Use sum.", amended="print(sum([3, 5, 8]))\n")
    row = next(iter(store.rows()))
    assert row.reason == "amended"
    assert "print(sum([3, 5, 8]))" in row.chosen
    assert agrees(decode(row.chosen_soft_labels), row.chosen)
    assert (row.teacher, row.chosen_labels_by) == ("user", EMBEDDED)
    assert store.stats().by_labeller == {EMBEDDED: store.stats().rows}


async def test_what_was_done_by_hand_gets_soft_labels_too(store):
    again = {"verdict": "redo", "words": "no"}
    await play(store, "total.py", "Use sum.", by_hand="print(sum([3, 5, 8]))\n", **again)
    for row in store.rows():
        assert (row.teacher, row.chosen_labels_by) == ("user", EMBEDDED)
        assert "print(sum([3, 5, 8]))" in row.chosen
        assert agrees(decode(row.chosen_soft_labels), row.chosen)
    assert store.stats().rows >= 1
