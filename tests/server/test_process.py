"""The engine as a child process: what it says, how it ends, what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys

import psutil
import pytest
from attrs import evolve
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.event_json import UnknownEventError, from_json, to_json
from precision_shaking.sape.process import EngineError, EngineProcess

ONE_STEP = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}
SLEEPER = "import time\nprint('asleep', flush=True)\ntime.sleep(60)"
# For what a busy machine does in its own time; what is waited for ends the waiting.
PATIENCE = 60
PLAN = {"method": "event", "params": {"kind": "plan_ready", "steps": []}}


@pytest.fixture
async def engine():
    """An engine, and the queue of its events."""
    events = asyncio.Queue()
    process = await EngineProcess.start(events.put_nowait, grace_seconds=PATIENCE)
    yield process, events
    process.kill()
    await process.wait()


def params(tmp_path, *servers, **more):
    teachers = tuple(
        wire.TeacherAccess(f"openai/t{n}", s.base_url, "sk-canary") for n, s in enumerate(servers)
    )
    return wire.StartParams("a.py", "print(0)\n", "say hello", teachers, db=str(tmp_path / "d.db"), **more)


async def until(events, kind):
    """The next event of a kind; whatever comes before it is passed over."""
    while True:
        event = await asyncio.wait_for(events.get(), PATIENCE)
        if isinstance(event, kind):
            return event


def status(tmp_path):
    with sqlite3.connect(tmp_path / "d.db") as db:
        return db.execute("SELECT status FROM session").fetchone()[0]


async def gone(pids, seconds=PATIENCE):
    """Whether all of these processes end in time."""
    processes = []
    for pid in pids:
        try:
            processes.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_a_session_from_start_to_end(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work("print(1)")]}) as server:
        session = (await process.begin(params(tmp_path, server))).session
        assert (await until(events, e.SessionStarted)).session == session
        proposal = await until(events, e.ProposalReady)
        await process.answer(wire.AnswerParams(proposal.attempt, "accepted"))
        finished = await until(events, e.SessionFinished)
    assert (finished.session, finished.status, finished.rows) == (session, "done", 1)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    with pytest.raises(EngineError, match="has ended"):
        await process.answer(wire.AnswerParams(proposal.attempt, "accepted"))


async def test_a_stop_ends_the_session_as_abandoned_and_the_process(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work("print(1)")]}) as server:
        await process.begin(params(tmp_path, server))
        await until(events, e.ProposalReady)
        await process.stop()
    assert (await until(events, e.SessionFinished)).status == "abandoned"
    assert status(tmp_path) == "abandoned"


async def test_a_closed_input_ends_everything_and_marks_the_session_crashed(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work(SLEEPER)]}) as server:
        await process.begin(params(tmp_path, server))
        await until_running(process, events)
        tree = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert tree
        await process.close()
    assert await gone([process.pid, *tree])
    assert status(tmp_path) == "crashed"


async def until_running(process, events):
    """Wait until the engine runs a script, which is told only afterwards."""
    await until(events, e.AgentText)
    engine_process = psutil.Process(process.pid)
    async with asyncio.timeout(PATIENCE):
        while not engine_process.children(recursive=True):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


async def test_killing_the_engine_is_said_and_leaves_no_process(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work(SLEEPER)]}) as server:
        session = (await process.begin(params(tmp_path, server))).session
        await until_running(process, events)
        tree = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        os.kill(process.pid, signal.SIGKILL)
        failed = await until(events, e.SessionFailed)
    assert failed.session == session
    assert "stopped unexpectedly" in failed.message
    assert await gone([process.pid, *tree])


async def test_the_engine_dies_with_whoever_started_it():
    script = (
        "import asyncio, sys, time\n"
        "from precision_shaking.sape.process import EngineProcess\n"
        "async def main():\n"
        "    engine = await EngineProcess.start(lambda event: None)\n"
        "    print(engine.pid, flush=True)\n"
        "    time.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    pid = int(await asyncio.wait_for(parent.stdout.readline(), PATIENCE))
    parent.kill()
    await parent.wait()
    assert await gone([pid])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"script": " \n"}, "empty"),
        ({"request": " "}, "what should change"),
        ({"teachers": []}, "no teacher"),
        ({"teachers": [{"name": "embedded/nothing"}]}, "no embedded model"),
        ({"db": "/dev/null/d.db"}, "dataset"),
        ({"script": None}, "StartParams"),
    ],
)
async def test_what_cannot_start_is_refused_in_a_sentence(engine, tmp_path, changes, sentence):
    process, _ = engine
    with ScriptedTeacher({}) as server:
        start = {**wire.to_params(params(tmp_path, server)), **changes}
        if changes.get("script", "") is None:
            del start["script"]
        with pytest.raises(EngineError, match=sentence) as refusal:
            await process.request("start", start)
    assert "canary" not in str(refusal.value)


async def test_requests_out_of_place_are_refused_and_the_engine_lives_on(engine, tmp_path):
    process, events = engine
    with pytest.raises(EngineError, match="no session yet"):
        await process.request("stop")
    with ScriptedTeacher({**ONE_STEP, "worker": [work("print(1)")]}) as server:
        await process.begin(params(tmp_path, server))
        with pytest.raises(EngineError, match="has a session"):
            await process.begin(params(tmp_path, server))
        with pytest.raises(EngineError, match="no method"):
            await process.request("sing")
        with pytest.raises(EngineError, match="AnswerParams"):
            await process.request("answer", {"verdict": "accepted"})
        with pytest.raises(EngineError, match="No step waits"):
            await process.help(wire.HelpParams("skip"))
        proposal = await until(events, e.ProposalReady)
        await process.answer(wire.AnswerParams(proposal.attempt, "accepted"))
        assert (await until(events, e.SessionFinished)).status == "done"


async def test_keys_are_neither_arguments_nor_environment_nor_in_the_dataset(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work("print(1)")]}) as server:
        await process.begin(params(tmp_path, server))
        await until(events, e.ProposalReady)
        running = psutil.Process(process.pid)
        assert "canary" not in " ".join(running.cmdline())
        assert "canary" not in str(running.environ())
        assert server.requests[0]["headers"]["Authorization"] == "Bearer sk-canary"
        await process.stop()
    assert b"canary" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


async def test_an_engine_that_does_not_end_in_time_is_killed():
    ignores = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(3600)"]
    process = await EngineProcess.start(lambda _: None, command=ignores, grace_seconds=0.1)
    await process.close()
    assert await process.wait() == -signal.SIGKILL


async def test_a_text_that_is_none_is_refused_in_a_sentence_and_leaves_nothing_behind(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work("print(1)")]}) as server:
        half = evolve(params(tmp_path, server), script="print('\ud83d')\n")
        with pytest.raises(EngineError, match=r"half of a character \(U\+D83D\)"):
            await process.begin(half)
        await process.begin(params(tmp_path, server))
        proposal = await until(events, e.ProposalReady)
        with pytest.raises(EngineError, match="half of a character"):
            await process.answer(wire.AnswerParams(proposal.attempt, words="\udc00"))
        await process.answer(wire.AnswerParams(proposal.attempt, "accepted"))
        assert (await until(events, e.SessionFinished)).status == "done"


async def test_whatever_ends_the_reading_ends_the_waiting():
    def choke(_):
        raise RuntimeError("no room for events")

    says = f"import sys, time; print({json.dumps(PLAN)!r}, flush=True); time.sleep(3600)"
    process = await EngineProcess.start(choke, command=[sys.executable, "-c", says])
    with pytest.raises(EngineError, match="has ended"):
        await asyncio.wait_for(process.request("stop"), PATIENCE)
    process.kill()
    with pytest.raises(RuntimeError, match="no room"):
        await process.wait()


@pytest.mark.parametrize("line", [b"hello\n", b"[]\n", b"\xff\xfe\n", b'{"id": 1}\n'])
async def test_garbage_on_its_input_is_answered_and_survived(line):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "precision_shaking", "engine", stdin=-1, stdout=-1, stderr=-1
    )
    process.stdin.write(line)
    answer = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))
    assert answer["error"]["code"] < 0
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_a_quiet_engine_imports_no_litellm(engine, tmp_path):
    process, events = engine
    with ScriptedTeacher({**ONE_STEP, "worker": [work("print(1)")]}) as server:
        await process.begin(params(tmp_path, server))
        await until(events, e.ProposalReady)
        libraries = [mapped.path for mapped in psutil.Process(process.pid).memory_maps()]
    assert not [path for path in libraries if "litellm" in path or "torch" in path]


def test_events_survive_the_wire():
    proposal = e.ProposalReady(0, 1, "a", "x\n", "y\n", "why", "t", "ok", "", unclear=False)
    started = e.SessionStarted("s", "d", "r", ("a", "b"))
    for event in (
        proposal,
        started,
        e.AgentStarted("planner", "t", None, None),
        e.HelpNeeded(0, "x", ("retry",), "a\n", "b\n"),
    ):
        data = json.loads(json.dumps(to_json(event)))
        assert data["kind"] == event.kind
        assert from_json({**data, "new_in_a_later_version": 1}) == event


@pytest.mark.parametrize("data", [{}, {"kind": "party"}, {"kind": "plan_ready"}])
def test_what_is_no_event_is_refused(data):
    with pytest.raises(UnknownEventError):
        from_json(data)
