"""A model of the user's own: only the worker asks it, and the teachers follow where it fails."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from dorpo.store import Store
from tests.server.lsp_editor import editor

URI = "file:///greet.py"
OWN, TAUGHT = "print('mine')", "print('taught')"
OTHERS = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")], "worker": [work(TAUGHT)]}


def run(folder, answers, *options):
    script = folder / "greet.py"
    script.write_text("print('hi')\n")
    (folder / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    command = [sys.executable, "-m", "precision_shaking", "run", str(script), "say hello"]
    command += ["--answers", str(folder / "answers.jsonl"), "--db", str(folder / "d.db"), *options]
    environment = {**os.environ, "PRECISION_SHAKING_HOME": str(folder / "home")}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert result.returncode == 0, result.stderr
    return script.read_text().strip()


def rows(folder):
    with sqlite3.connect(folder / "d.db") as db:
        return db.execute("SELECT teacher, reason, has_soft_labels FROM dorpo ORDER BY rowid").fetchall()


@pytest.fixture
def student():
    with ScriptedTeacher({"worker": [work(OWN)]}) as server:
        yield server


@pytest.fixture
def teacher():
    with ScriptedTeacher(OTHERS) as server:
        yield server


def asked(server):
    return {request["agent"] for request in server.requests}


def test_only_the_worker_asks_it_and_its_answer_is_a_row_of_its_own(tmp_path, student, teacher):
    options = ["--worker", student.teacher("openai/mine"), "--teacher", teacher.teacher()]
    assert run(tmp_path, [{"verdict": "accepted"}], *options) == OWN
    assert (asked(student), asked(teacher)) == ({"worker"}, {"planner", "lead"})
    assert rows(tmp_path) == [("openai/mine", None, 1)]


def test_the_teachers_follow_after_the_usual_number_of_failed_attempts(tmp_path, teacher):
    with ScriptedTeacher({"worker": [work("print(1 / 0)"), work("print([][0])")]}) as student:
        options = ["--worker", student.teacher("openai/mine"), "--teacher", teacher.teacher()]
        assert run(tmp_path, [{"verdict": "accepted"}], *options, "--max-attempts", "2") == TAUGHT
        assert len(student.asked("worker")) == 2
    assert len(teacher.asked("worker")) == 1
    assert {row[0] for row in rows(tmp_path)} == {"openai/scripted"}


def test_a_recording_with_it_plays_again(tmp_path, student, teacher):
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    tape = str(tmp_path / "tape.jsonl")
    options = ["--worker", student.teacher("openai/mine"), "--teacher", teacher.teacher()]
    run(first, [{"verdict": "accepted"}], *options, "--record", tape)
    assert run(again, [{"verdict": "accepted"}], "--replay", tape) == OWN
    assert rows(again) == rows(first)


async def test_an_editor_has_it_by_a_setting(tmp_path, student, teacher):
    settings = {"worker": student.teacher("openai/mine"), "teachers": [teacher.teacher()]}
    async with editor(tmp_path / "home", **settings) as ed:
        ed.open(URI, "print('hi')\n")
        await ed.accept_next(await ed.start(URI))
        await ed.next_event_of_the_end()
    assert (asked(student), asked(teacher)) == ({"worker"}, {"planner", "lead"})
    with Store.open(tmp_path / "home" / "dataset.db") as store:
        assert [row.teacher for row in store.rows()] == ["openai/mine"]
