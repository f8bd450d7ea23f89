"""Sessions whose engine is killed: resumed, they end with the rows of one that never was."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys

import psutil
import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineError, EngineProcess

OLD = "print(0)\n"
BROKEN = "print(1 / 0)"
SLOW = "import time\ntime.sleep(1)\nprint(2)"
WORKS = [BROKEN, SLOW, "print(3)", "print(4)"]
HELD_UP = {"content": "too late", "delay": 600}
ACCEPT, REDO, PRAISE = {"verdict": "accepted"}, {"verdict": "redo", "words": "no"}, {"words": "fine with me"}
RETRY = {"choice": "retry"}
# What is asked of whom in this order; the first two attempts fail, and so the only teacher.
REACTIONS = [REDO, RETRY, PRAISE, ACCEPT]
# Where the engine is killed: while somebody is asked for the nth time, at an event, or while a script runs.
PLACES = {
    "planning": ("planner", 1),
    "leading": ("lead", 2),
    "working": ("worker", 2),
    "executing": "run",
    "asking": (e.ProposalReady, 1),
    "stuck": (e.HelpNeeded, 1),
    "reading": ("analyzer", 1),
    "between steps": (e.StepAccepted, 1),
    "asking again": (e.ProposalReady, 3),
}
COUNTS = "SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM run), (SELECT count(*) FROM feedback)"
ROWS = "SELECT step, prompt, chosen, rejected, reason, cycle, has_soft_labels FROM dorpo"


def script(*places):
    """What the teacher says; where the engine is to be killed it keeps silent once."""
    said = {
        "planner": [plan("one", "two")],
        "lead": [instruct(f"Do {n}.") for n in range(1, 6)],
        "worker": [work(text) for text in WORKS],
        "analyzer": [verdict("accepted")],
    }
    for agent, n in sorted((place for place in places if place[0] in said), reverse=True):
        said[agent].insert(n - 1, HELD_UP)
    return said


def select(db, sql):
    connection = sqlite3.connect(db)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class Play:
    """The one session, with as many engines as it takes."""

    def __init__(self, db, teacher):
        self.db, self.teacher = db, teacher
        self.reactions = list(REACTIONS)
        self.uid = None
        self.told = []

    async def until(self, place=None):
        """Go on to a place and kill the engine there; without one, to the end of the session."""
        events = asyncio.Queue()
        engine = await EngineProcess.start(events.put_nowait)
        try:
            async with asyncio.timeout(60):
                await self._begin(engine)
                listening = asyncio.create_task(self._listen(engine, events, place))
                waiting = {listening, *self._arrivals(engine, place)}
                done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in others:
                    task.cancel()
                for task in done:
                    task.result()
        finally:
            engine.kill()
            await engine.wait()

    async def _begin(self, engine):
        name, key = f"openai/t@{self.teacher.base_url}", "sk-canary"
        if self.uid is not None:
            began = await engine.resume(wire.ResumeParams(self.uid, {name: key}, str(self.db)))
            assert (began.document, began.request, began.script) == ("a.py", "count", OLD)
            return
        pool = (wire.TeacherAccess("openai/t", self.teacher.base_url, key),)
        start = wire.StartParams("a.py", OLD, "count", pool, db=str(self.db), max_attempts=2)
        self.uid = await engine.begin(start)

    def _arrivals(self, engine, place):
        if place == "run":
            return [asyncio.create_task(_running(engine.pid))]
        if place and isinstance(place[0], str):
            agent, times = place
            return [asyncio.create_task(asyncio.to_thread(self.teacher.was_asked, agent, 60, times))]
        return []

    async def _listen(self, engine, events, place):
        self.told = []
        while True:
            event = await events.get()
            self.told.append(event)
            kind = type(event)
            if place and (kind, [type(told) for told in self.told].count(kind)) == place:
                return
            if isinstance(event, e.ProposalReady):
                await engine.answer(wire.AnswerParams(event.attempt, **self.reactions.pop(0)))
            elif isinstance(event, e.HelpNeeded):
                await engine.help(wire.HelpParams(**self.reactions.pop(0)))
            elif isinstance(event, e.SessionFinished):
                return
            assert not isinstance(event, e.SessionFailed), event

    def result(self):
        """What the dataset holds, and what the teacher was asked."""
        asked = {agent: len(self.teacher.asked(agent)) for agent in ("planner", "lead", "worker", "analyzer")}
        return select(self.db, ROWS), select(self.db, COUNTS), asked


async def _running(pid):
    engine = psutil.Process(pid)
    while not engine.children(recursive=True):  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The result of a session that nobody kills."""

    async def play():
        with ScriptedTeacher(script()) as teacher:
            session = Play(tmp_path_factory.mktemp("undisturbed") / "d.db", teacher)
            await session.until()
            return session.result()

    return asyncio.run(play())


def test_the_undisturbed_session_is_the_one_of_the_design(undisturbed):
    rows, counts, asked = undisturbed
    assert [(row[0], row[4], row[5]) for row in rows] == [(0, "error", 3), (0, "redo", 3), (1, None, 1)]
    assert [row[3] for row in rows] == [work(BROKEN), work(SLOW), None]
    assert [row[2] for row in rows] == [work("print(3)"), work("print(3)"), work("print(4)")]
    assert (counts, asked) == ([(4, 4, 3)], {"planner": 1, "lead": 4, "worker": 4, "analyzer": 1})


@pytest.mark.parametrize("name", PLACES)
async def test_a_session_whose_engine_is_killed_goes_on_where_it_was(name, tmp_path, undisturbed):
    place = PLACES[name]
    with ScriptedTeacher(script(place)) as teacher:
        session = Play(tmp_path / "d.db", teacher)
        await session.until(place)
        await session.until()
        rows, counts, asked = session.result()
    assert (rows, counts) == undisturbed[:2]
    # At most the question that was open is asked again.
    again = {agent: asked[agent] - n for agent, n in undisturbed[2].items()}
    assert again == {agent: int(agent == place[0]) for agent in again}
    assert select(tmp_path / "d.db", "SELECT status FROM session") == [("done",)]


async def test_a_session_can_be_killed_everywhere_it_goes(tmp_path, undisturbed):
    with ScriptedTeacher(script(*PLACES.values())) as teacher:
        session = Play(tmp_path / "d.db", teacher)
        for name in ("planning", "leading", "working", "executing", "asking", "stuck"):
            # An event's number counts within one engine's life.
            await session.until(PLACES[name])
        await session.until(("analyzer", 1))
        await session.until((e.ProposalReady, 1))
        await session.until()
        rows, counts, _ = session.result()
    assert (rows, counts) == undisturbed[:2]


async def test_a_client_hears_what_it_needs_to_show_the_session_again(tmp_path):
    with ScriptedTeacher(script()) as teacher:
        session = Play(tmp_path / "d.db", teacher)
        await session.until((e.ProposalReady, 3))
        before = session.told[-1]
        await session.until((e.ProposalReady, 1))
    assert session.told == [
        e.SessionStarted(session.uid, "a.py", "count", ("openai/t",)),
        e.PlanReady(("one", "two")),
        e.StepStarted(0, "one"),
        e.StepRestored(0, "print(3)\n"),
        e.StepStarted(1, "two"),
        e.InstructionReady(1, 1, before_instruction(session)),
        before,
    ]


def before_instruction(session):
    [(instruction,)] = select(
        session.db,
        "SELECT body FROM attempt JOIN text ON text.id = instruction ORDER BY attempt.id DESC LIMIT 1",
    )
    return instruction


async def test_the_end_can_be_heard_again_by_whoever_missed_it(tmp_path):
    with ScriptedTeacher(script()) as teacher:
        session = Play(tmp_path / "d.db", teacher)
        await session.until()
        finished = session.told[-1]
        await session.until()
    assert session.told[-1] == finished
    assert [event.script for event in session.told if isinstance(event, e.StepRestored)] == [
        "print(3)\n",
        "print(4)\n",
    ]


async def test_a_session_runs_in_one_engine_at_a_time(tmp_path):
    with ScriptedTeacher(script()) as teacher:
        first = Play(tmp_path / "d.db", teacher)
        events = asyncio.Queue()
        engine = await EngineProcess.start(events.put_nowait)
        second = await EngineProcess.start(asyncio.Queue().put_nowait)
        try:
            await first._begin(engine)
            while not isinstance(await asyncio.wait_for(events.get(), 30), e.ProposalReady):
                pass
            assert command("sessions", "--json", db=first.db) == {"sessions": []}
            with pytest.raises(EngineError, match="running already"):
                await second.resume(wire.ResumeParams(first.uid, db=str(first.db)))
            assert "running already" in command("abandon", first.uid, db=first.db, fails=True)
        finally:
            engine.kill()
            second.kill()
            await asyncio.gather(engine.wait(), second.wait())
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("uid", ["nothing", "../../d.db", ""])
async def test_a_session_that_is_not_there_cannot_be_resumed(tmp_path, uid):
    with ScriptedTeacher(script()) as teacher:
        session = Play(tmp_path / "d.db", teacher)
        await session.until((e.PlanReady, 1))
        session.uid = uid
        with pytest.raises(EngineError, match="no session"):
            await session.until()


def command(*words, db, fails=False):
    """What a command prints as JSON, or complains."""
    done = subprocess.run(
        [sys.executable, "-m", "precision_shaking", *words, "--db", str(db)],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else json.loads(done.stdout or "null")


def cli(*words, db):
    return subprocess.Popen(
        [sys.executable, "-m", "precision_shaking", *words, "--db", str(db), "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(folder, *given):
    file = folder / "answers.jsonl"
    file.write_text("".join(json.dumps(answer) + "\n" for answer in given))
    return ["--answers", str(file)]


def test_the_command_line_says_how_to_go_on_and_does(tmp_path):
    file, db = tmp_path / "greet.py", tmp_path / "d.db"
    file.write_text("print(0)\n\n\nprint('end')\n")
    works = ["print(1)\n\n\nprint('end')", HELD_UP, "print(2)\n\n\nprint('end')"]
    said = {**script(), "worker": [work(w) if isinstance(w, str) else w for w in works]}
    with ScriptedTeacher(said) as teacher:
        with cli(
            "run", str(file), "count", "--teacher", teacher.teacher(), *answers(tmp_path, ACCEPT), db=db
        ) as run:
            teacher.was_asked("worker", 30, 2)
            [engine] = [child for child in psutil.Process(run.pid).children() if "engine" in child.cmdline()]
            os.kill(engine.pid, signal.SIGKILL)
            _, complaint = run.communicate(timeout=30)
        assert run.returncode == 2
        [listed] = command("sessions", "--json", db=db)["sessions"]
        assert f"precision-shaking resume {listed['session']} --db {db}" in complaint
        assert (listed["document"], listed["request"], listed["text"]) == (str(file), "count", "two")
        assert (listed["step"], listed["steps"], listed["teachers"]) == (1, 2, [teacher.teacher()])
        # The user works on meanwhile.
        file.write_text(file.read_text().replace("end", "END"))
        with cli("resume", listed["session"], *answers(tmp_path, ACCEPT), db=db) as run:
            told, complaint = run.communicate(timeout=30)
    assert (run.returncode, complaint) == (0, "")
    assert json.loads(told.splitlines()[-1])["kind"] == "session_finished"
    assert file.read_text() == "print(2)\n\n\nprint('END')\n"
    assert len(select(db, ROWS)) == 2
    assert command("sessions", "--json", db=db) == {"sessions": []}


def test_an_abandoned_session_is_gone_for_good(tmp_path):
    file, db = tmp_path / "greet.py", tmp_path / "d.db"
    file.write_text(OLD)
    with ScriptedTeacher({**script(), "worker": [work("print(1)")]}) as teacher:
        words = ["run", str(file), "count", "--teacher", teacher.teacher()]
        # Nobody is there to answer: that is no decision.
        complaint = command(*words, db=db, fails=True)
    assert "Nobody is there to answer" in complaint
    [listed] = command("sessions", "--json", db=db)["sessions"]
    command("abandon", listed["session"], db=db)
    assert command("sessions", "--json", db=db) == {"sessions": []}
    assert select(db, "SELECT session.status, step.status FROM session JOIN step ON n = 0") == [
        ("abandoned", "abandoned")
    ]
    assert "ended already" in command("abandon", listed["session"], db=db, fails=True)
    assert "stopped" in command("resume", listed["session"], db=db, fails=True)
    assert select(db, "SELECT count(*) FROM pair") == [(0,)]


@pytest.mark.parametrize(
    "damage", ['UPDATE journal SET event = \'{"kind": "Danced"}\'', "UPDATE session SET settings = '[]'"]
)
def test_a_session_of_another_version_is_listed_and_can_be_given_up(tmp_path, damage):
    file, db = tmp_path / "greet.py", tmp_path / "d.db"
    file.write_text(OLD)
    with ScriptedTeacher({**script(), "worker": [work("print(1)")]}) as teacher:
        command("run", str(file), "count", "--teacher", teacher.teacher(), db=db, fails=True)
    with sqlite3.connect(db) as connection:
        connection.execute(damage)
    connection.close()
    [listed] = command("sessions", "--json", db=db)["sessions"]
    assert (listed["document"], listed["request"], listed["steps"]) == (str(file), "count", 0)
    assert listed["problem"].startswith("This version cannot resume the session: ")
    told = subprocess.run(
        [sys.executable, "-m", "precision_shaking", "sessions", "--db", str(db)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"{listed['problem']} Give it up with `precision-shaking abandon {listed['session']}`." in told
    assert "cannot resume" in command("resume", listed["session"], db=db, fails=True)
    command("abandon", listed["session"], db=db)
    assert command("sessions", "--json", db=db) == {"sessions": []}
    assert select(db, "SELECT status FROM session") == [("abandoned",)]
    assert "ended already" in command("abandon", listed["session"], db=db, fails=True)
