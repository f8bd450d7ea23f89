"""A session of three steps whose engine is killed after every transition that it can make in them."""

from __future__ import annotations

import asyncio

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from precision_shaking.sape import happenings as h
from precision_shaking.sape.journal import from_json, replay
from precision_shaking.sape.state import begin, task
from precision_shaking.sape.vocabulary import Limits
from tests.server.lives import AGENTS, HELD_UP, OLD, Lives, select

# Long enough to be killed in; no script is like another, so that none is taken for a repetition.
SLEEPING = "import time\ntime.sleep(1)\n"
SAID = {
    "planner": [plan("one", "two", "three")],
    "lead": [instruct(f"Do {n}.") for n in range(1, 7)],
    "worker": [
        work(f"{SLEEPING}print(1 / 0)"),
        work(f"{SLEEPING}print(2)"),
        work(f"{SLEEPING}print(3)"),
        work(f"{SLEEPING}print(4)"),
        work(f"{SLEEPING}print(5)"),
        "not readable at all",
        work(f"{SLEEPING}print(6)"),
    ],
    "analyzer": [verdict("accepted")],
}
REACTIONS = [
    {"verdict": "redo", "words": "no"},
    {"choice": "retry"},
    {"words": "fine with me"},
    {"verdict": "further_edit", "words": "more"},
    {"verdict": "accepted", "amended": "print('mine')\n"},
    {"verdict": "accepted"},
]
CYCLE = ("lead", "worker", "run")
# What the session waits for after so many transitions: an error, a redo, help and words in its first step, a
# further edit and an amended acceptance in the second, an unreadable answer in the third.
WAITS = (
    "planner",
    *CYCLE,
    *CYCLE,
    "user",
    "user",
    *CYCLE,
    "user",
    "analyzer",
    *CYCLE,
    "user",
    *CYCLE,
    "user",
    "lead",
    "worker",
    *CYCLE[1:],
    "user",
)
TASKS = {
    h.AskPlanner: "planner",
    h.AskLead: "lead",
    h.AskWorker: "worker",
    h.ReadFeedback: "analyzer",
    h.Execute: "run",
    h.AskUser: "user",
    h.AskForHelp: "user",
}
# A life passes through so many transitions and is killed after the last: none is left out, with half the
# engines that it would take to kill a session once after each of them and play it to its end.
STRIDE = 3
DOUBLE = "SELECT rejected_id FROM pair WHERE rejected_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1"


def said(kills):
    """What the teacher says; where the engine is to be killed it keeps silent once."""
    replies = {agent: [] for agent in AGENTS}
    rest = {agent: iter(answers) for agent, answers in SAID.items()}
    for moment, waits in enumerate(WAITS):
        if waits in AGENTS:
            replies[waits] += [HELD_UP] * (moment in kills) + [next(rest[waits])]
    return replies


def place(moment, kills):
    """Where to kill the engine, as `Lives` knows places."""
    waits = WAITS[moment]
    if waits not in AGENTS:
        return waits, moment
    before = [n for n in range(moment) if WAITS[n] == waits]
    # Each question that nobody lived to hear the answer of is asked twice.
    return waits, len(before) + sum(n in kills for n in before) + 1


def outcome(session):
    rows, counts, asked = session.result()
    return sorted(rows, key=str), counts, asked


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The result of the session that nobody kills, and its journal."""

    async def play():
        with ScriptedTeacher(said(())) as teacher:
            session = Lives(tmp_path_factory.mktemp("undisturbed") / "d.db", teacher, REACTIONS)
            await session.until()
            return outcome(session), select(session.db, "SELECT event FROM journal ORDER BY n")

    return asyncio.run(play())


def test_the_session_waits_for_what_the_table_says(undisturbed):
    events = [from_json(entry) for (entry,) in undisturbed[1]]
    state = begin("count", OLD, Limits(max_attempts=2))
    waits = [TASKS.get(type(task(replay(state, events[:n]).state))) for n in range(len(events) + 1)]
    assert waits == [*WAITS, None]


@pytest.mark.parametrize("first", range(STRIDE))
async def test_a_session_survives_being_killed_after_any_transition(first, tmp_path, undisturbed):
    kills = range(first, len(WAITS), STRIDE)
    with ScriptedTeacher(said(kills)) as teacher:
        session = Lives(tmp_path / "d.db", teacher, REACTIONS)
        for moment in kills:
            await session.until(place(moment, kills))
            assert session.moment() == moment, f"the engine was not killed after transition {moment}"
            assert select(session.db, DOUBLE) == [], f"a row was written twice before transition {moment}"
        await session.until()
        rows, counts, asked = outcome(session)
    assert (rows, counts) == undisturbed[0][:2]
    # What was open when the engine was killed is asked again, and nothing else.
    open_questions = {agent: sum(WAITS[moment] == agent for moment in kills) for agent in AGENTS}
    assert asked == {agent: undisturbed[0][2][agent] + open_questions[agent] for agent in AGENTS}
    assert select(session.db, "SELECT status FROM session") == [("done",)]
