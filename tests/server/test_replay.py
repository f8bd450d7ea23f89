"""A session that was recorded can be run again when its teachers are gone, and comes out the same."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys

import psutil
import pytest
from attrs import astuple
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from dorpo.softlabels import TokenScore
from dorpo.store import Store
from precision_shaking.sape.channel import ChannelError
from precision_shaking.sape.recording_file import read_recording, read_scores, write_scores
from precision_shaking.sape.wire import TeacherAccess

OLD = 'print("hi")\n'
NEW = 'print("hello")'
CANARY = "sk-canary1234567"
COMMAND = [sys.executable, "-m", "precision_shaking", "run"]
# Errors, an unreadable answer, a redo, words for the analyzer, an amended text: all that can be asked.
SCRIPT = {
    "planner": [plan("say hello", "say bye")],
    "lead": [instruct("Print hello."), instruct("Print it once more.")],
    "worker": [
        work("print(1 / 0)"),
        "not readable at all",
        work('print("héllo \U0001f600")'),
        work(NEW),
        work(NEW + '\nprint("bye")'),
    ],
    "analyzer": [verdict("redo"), verdict("accepted")],
}
ANSWERS = [
    {"text": "not like this"},
    {"verdict": "accepted"},
    {"verdict": "accepted", "amended": 'print("ciao")\n'},
]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "greet.py"
    path.write_text(OLD)
    return path


def run(script, *options, answers=ANSWERS, request="say hello", db="d.db"):
    """The finished process; the script begins anew each time."""
    script.write_text(OLD)
    given = script.parent / "answers.jsonl"
    given.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    return subprocess.run(
        [*COMMAND, str(script), request, "--json", "--answers", str(given)]
        + (["--db", str(script.parent / db)] if db else [])
        + list(map(str, options)),
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PRECISION_SHAKING_API_KEY": CANARY},
        check=False,
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The recording's file, and what the recorded session said and stored; the server is stopped."""
    folder = tmp_path_factory.mktemp("recorded")
    path = folder / "exchanges.jsonl"
    with ScriptedTeacher(SCRIPT) as server:
        done = run(folder / "greet.py", "--teacher", server.teacher(), "--record", path)
        assert server.requests[0]["headers"]["Authorization"] == f"Bearer {CANARY}"
    assert (done.returncode, done.stderr) == (0, "")
    return path, done, rows(folder / "greet.py", "d.db")


@pytest.fixture
def copy(recorded, tmp_path):
    """A recording that may be damaged."""
    path = tmp_path / "copy.jsonl"
    path.write_text(recorded[0].read_text())
    return path


UIDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")


def events(done):
    """The events of a run, without what differs from run to run."""
    told = [json.loads(line) for line in UIDS.sub("UID", done.stdout).splitlines()]
    told[0]["document"] = ""
    return [{key: value for key, value in event.items() if key != "seconds"} for event in told]


def rows(script, db):
    with Store.open(script.parent / db) as store:
        # Without the uids, which are new each time.
        return [astuple(row)[2:] for row in store.rows()]


def refusal(done):
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("precision-shaking: ")
    return done.stderr


def failure(done):
    """How a run ended, without the advice on how to go on, which a replay does not need."""
    return done.returncode, done.stderr.partition(" Go on with")[0].strip()


def test_a_replay_tells_and_stores_the_same_without_a_teacher(script, recorded):
    path, first, there = recorded
    again = run(script, "--replay", path, db="again.db")
    assert (again.returncode, again.stderr) == (0, "")
    assert events(again) == events(first)
    assert script.read_text() == 'print("ciao")\n'
    here = rows(script, "again.db")
    assert here == there
    assert [row[4] for row in here] == ["error", "redo", "amended"]
    assert all(row[-1] is not None for row in here)


def test_a_recording_is_private_and_holds_no_key_and_no_address(recorded):
    path, *_ = recorded
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "canary" not in text
    assert "127.0.0.1" not in text
    recording = read_recording(path)
    assert (recording.teachers, recording.scorer) == ((TeacherAccess("openai/scripted"),), None)
    assert [exchange.agent for exchange in recording.exchanges].count("worker") == 5
    worker = next(exchange for exchange in recording.exchanges if exchange.agent == "worker")
    assert (worker.text, worker.finish_reason) == (work("print(1 / 0)"), "stop")
    assert (worker.input_tokens, worker.options["temperature"]) == (100, 0.0)
    assert "".join(worker.pieces) == worker.text
    assert len(worker.scores[0][2]) == 20


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request": "say goodbye"}, ["planner", "exchange 1", "'say hello'", "'say goodbye"]),
        ({"answers": [{"text": "something else"}]}, ["analyzer", "'something else", "'not like this"]),
        ({"answers": [{"verdict": "further_edit"}]}, ["lead", "exchange 8"]),
    ],
)
def test_a_session_that_asks_something_else_says_what(script, recorded, changes, words):
    said = refusal(run(script, "--replay", recorded[0], db="other.db", **changes))
    for word in words:
        assert word in said


def test_a_recording_that_ends_too_early_says_so(script, copy):
    lines = copy.read_text().splitlines(keepends=True)
    copy.write_text("".join(lines[:3]))
    said = refusal(run(script, "--replay", copy, db="other.db"))
    assert "asks the worker" in said
    assert "all of its 2 exchanges" in said


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "damaged in line"),
        (lambda text: text.replace('"agent": "lead"', '"agend": "lead"'), "damaged in line 3"),
        (lambda text: text.replace('"text": "', '"text": "\xff', 1), "damaged in line 2"),
        (lambda text: text.replace("\n", "\n[]\n", 1), "damaged in line 2"),
        (lambda text: text.split("\n", 1)[1], "no recording"),
        (lambda _: "", "damaged in line 1"),
    ],
)
def test_a_damaged_recording_is_refused(copy, damage, words):
    copy.write_text(damage(copy.read_text()), encoding="latin-1")
    with pytest.raises(ChannelError, match=words):
        read_recording(copy)


def test_a_damaged_recording_is_refused_before_anything_is_written(script, copy):
    copy.write_text(copy.read_text()[:-100])
    assert "damaged in line" in refusal(run(script, "--replay", copy, db="other.db"))
    assert not (script.parent / "other.db").exists()
    assert script.read_text() == OLD


def test_files_and_options_that_do_not_go_together_are_refused(script, recorded):
    path, *_ = recorded
    assert "exists already" in refusal(run(script, "--record", path))
    assert "cannot be written" in refusal(run(script, "--record", script.parent / "no" / "where.jsonl"))
    assert "cannot be read" in refusal(run(script, "--replay", script.parent / "none.jsonl"))
    assert "leave out --teacher" in refusal(run(script, "--replay", path, "--teacher", "openai/x"))
    assert "--db" in refusal(run(script, "--replay", path, db=None))


def test_a_teacher_that_failed_fails_again(script):
    path = script.parent / "exchanges.jsonl"
    refused = {"status": 401, "content": f"bad key {CANARY}"}
    with ScriptedTeacher({"planner": [refused]}) as server:
        first = run(script, "--teacher", server.teacher(), "--record", path)
    again = run(script, "--replay", path, db="again.db")
    assert "refuses the API key" in refusal(first)
    # The recorded sentence names the server, which is where the user had it from.
    assert failure(again) == failure(first)
    assert "canary" not in path.read_text()


def test_scores_survive_the_file_to_the_last_bit():
    scores = (
        TokenScore(b"\xc3", -0.1, ((b"\xf0\x9f", -1 / 3), ("\ud800".encode("utf-8", "surrogatepass"), -2.5))),
        TokenScore("é\u2028".encode(), float("-inf"), ()),
    )
    line = json.dumps(write_scores(scores))
    assert read_scores(json.loads(line)) == scores


@pytest.mark.embedded
def test_the_embedded_model_is_replayed_without_it(script):
    path = script.parent / "exchanges.jsonl"
    answers = [{"help": "skip"}] * 9
    first = run(script, "--record", path, "--max-attempts", "1", "--no-execute", answers=answers)
    again = run(
        script, "--replay", path, "--max-attempts", "1", "--no-execute", db="again.db", answers=answers
    )
    assert failure(again) == failure(first)
    assert events(again) == events(first)


HELD_UP = {"content": "too late", "delay": 600}


def break_off(script, teacher, path, answers, agent, times):
    """Begin a recorded session and kill its engine while an agent is asked for the nth time; its uid."""
    script.write_text(OLD)
    given = script.parent / "answers.jsonl"
    given.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    db = ["--db", str(script.parent / "d.db")]
    options = ["--json", "--answers", str(given), "--teacher", teacher.teacher(), "--record", path.name, *db]
    command = [*COMMAND, str(script), "say hello", *options]
    with subprocess.Popen(
        command, cwd=path.parent, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        teacher.was_asked(agent, 60, times)
        [engine] = [child for child in psutil.Process(run.pid).children() if "engine" in child.cmdline()]
        engine.kill()
        told, _ = run.communicate(timeout=30)
    return json.loads(told.splitlines()[0])["session"]


def resume(script, uid, answers):
    given = script.parent / "rest.jsonl"
    given.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    db = ["--db", str(script.parent / "d.db")]
    return subprocess.run(
        [*COMMAND[:-1], "resume", uid, "--json", "--answers", str(given), *db],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(("agent", "times", "answered"), [("worker", 3, 0), ("analyzer", 1, 1)])
def test_a_recording_goes_on_when_its_session_is_resumed(script, tmp_path, recorded, agent, times, answered):
    path = tmp_path / "exchanges.jsonl"
    said = {**SCRIPT, agent: [*SCRIPT[agent][: times - 1], HELD_UP, *SCRIPT[agent][times - 1 :]]}
    with ScriptedTeacher(said) as teacher:
        uid = break_off(script, teacher, path, ANSWERS, agent, times)
        # What an engine leaves that is killed between an answer and what comes of it, or while it writes.
        lines = path.read_text().splitlines()
        moment = sum(1 for _ in journal(script))
        if len(lines) > 1:
            stray = {**json.loads(lines[-1]), "moment": moment, "text": "never came to anything"}
            path.write_text("\n".join([*lines, json.dumps(stray), '{"agent": "wor']))
        done = resume(script, uid, ANSWERS[answered:])
    assert (done.returncode, done.stderr) == (0, "")
    there = rows(script, "d.db")
    assert there == recorded[2]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "never came to anything" not in path.read_text()
    asked = [(exchange.agent, exchange.text) for exchange in read_recording(path).exchanges]
    assert asked == [(exchange.agent, exchange.text) for exchange in read_recording(recorded[0]).exchanges]
    again = run(script, "--replay", path, db="again.db")
    assert (again.returncode, again.stderr) == (0, "")
    assert rows(script, "again.db") == there


def journal(script):
    with Store.open(script.parent / "d.db") as store:
        [session] = store.unfinished()
        return store.events(session.uid)


def test_a_session_goes_on_without_a_recording_that_is_gone(script, tmp_path):
    path = tmp_path / "exchanges.jsonl"
    said = {**SCRIPT, "worker": [*SCRIPT["worker"][:2], HELD_UP, *SCRIPT["worker"][2:]]}
    with ScriptedTeacher(said) as teacher:
        uid = break_off(script, teacher, path, ANSWERS, "worker", 3)
        path.unlink()
        done = resume(script, uid, ANSWERS)
    assert done.returncode == 0
    assert not path.exists()
