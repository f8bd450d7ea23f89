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

from precision_shaking.cli import main
from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineError, EngineProcess
from tests.server.lives import HELD_UP, OLD, ROWS, Lives, select

BROKEN, WORSE = "print(1 / 0)", "print(2)"
WORKS = [BROKEN, WORSE, "print(3)", "print(4)"]
SAID = {
    "planner": [plan("one", "two")],
    "lead": [instruct(f"Do {n}.") for n in range(1, 6)],
    "worker": [work(text) for text in WORKS],
    "analyzer": [verdict("accepted")],
}
ACCEPT = {"verdict": "accepted"}
# What is asked of whom in this order; the first two attempts fail, and so the only teacher.
REACTIONS = [{"verdict": "redo", "words": "no"}, {"choice": "retry"}, {"words": "fine with me"}, ACCEPT]


@pytest.mark.parametrize("told", [None, e.PlanReady, e.RowWritten, e.HelpNeeded, e.StepAccepted])
async def test_whatever_it_is_killed_at_a_session_ends_with_the_rows_of_the_design(told, tmp_path):
    """Killed as soon as something is told of it, while it goes on; `test_killing` is about where it waits."""
    with ScriptedTeacher(SAID) as teacher:
        session = Lives(tmp_path / "d.db", teacher, REACTIONS)
        if told is not None:
            await session.until((told, 1))
        await session.until()
        rows, counts, asked = session.result()
    assert [(row[0], row[4], row[5]) for row in rows] == [(0, "error", 3), (0, "redo", 3), (1, None, 1)]
    assert [row[3] for row in rows] == [work(BROKEN), work(WORSE), None]
    assert [row[2] for row in rows] == [work("print(3)"), work("print(3)"), work("print(4)")]
    assert counts == [(4, 4, 3)]
    assert (sum(asked.values()) - 10) in (0, 1)
    assert select(tmp_path / "d.db", "SELECT status FROM session") == [("done",)]


async def test_a_client_hears_what_it_needs_to_show_the_session_again(tmp_path):
    with ScriptedTeacher(SAID) as teacher:
        session = Lives(tmp_path / "d.db", teacher, REACTIONS)
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
    with ScriptedTeacher(SAID) as teacher:
        session = Lives(tmp_path / "d.db", teacher, REACTIONS)
        await session.until()
        finished = session.told[-1]
        await session.until()
    assert session.told[-1] == finished
    assert [event.script for event in session.told if isinstance(event, e.StepRestored)] == [
        "print(3)\n",
        "print(4)\n",
    ]


async def test_a_session_runs_in_one_engine_at_a_time(tmp_path):
    with ScriptedTeacher(SAID) as teacher:
        first = Lives(tmp_path / "d.db", teacher, REACTIONS)
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
    with ScriptedTeacher(SAID) as teacher:
        session = Lives(tmp_path / "d.db", teacher, REACTIONS)
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
    said = {**SAID, "worker": [work(w) if isinstance(w, str) else w for w in works]}
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


def test_an_abandoned_session_is_gone_for_good(tmp_path, capsys):
    file, db = tmp_path / "greet.py", tmp_path / "d.db"
    file.write_text(OLD)
    with ScriptedTeacher({**SAID, "worker": [work("print(1)")]}) as teacher:
        words = ["run", str(file), "count", "--teacher", teacher.teacher()]
        # Nobody is there to answer: that is no decision.
        complaint = command(*words, db=db, fails=True)
    assert "Nobody is there to answer" in complaint
    [listed] = command("sessions", "--json", db=db)["sessions"]
    assert main(["abandon", listed["session"], "--db", str(db)]) == 0
    assert "given up" in capsys.readouterr().err
    assert command("sessions", "--json", db=db) == {"sessions": []}
    assert select(db, "SELECT session.status, step.status FROM session JOIN step ON n = 0") == [
        ("abandoned", "abandoned")
    ]
    assert "ended already" in command("abandon", listed["session"], db=db, fails=True)
    assert "stopped" in command("resume", listed["session"], db=db, fails=True)
    assert select(db, "SELECT count(*) FROM pair") == [(0,)]


def test_a_session_of_another_version_is_listed_and_can_be_given_up(tmp_path):
    file, db = tmp_path / "greet.py", tmp_path / "d.db"
    file.write_text(OLD)
    with ScriptedTeacher({**SAID, "worker": [work("print(1)")]}) as teacher:
        command("run", str(file), "count", "--teacher", teacher.teacher(), db=db, fails=True)
    with sqlite3.connect(db) as connection:
        connection.execute('UPDATE journal SET event = \'{"kind": "Danced"}\'')
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
