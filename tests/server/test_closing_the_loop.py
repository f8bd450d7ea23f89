"""The whole way: rows of a session, a student trained on them, that student as the next session's worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from dorpo.store import Store

pytestmark = [pytest.mark.embedded, pytest.mark.train]

SCRIPT = "print('hi')\n"
# Nothing that a model of 135 million parameters would come upon by itself.
TAUGHT = "print('shaken, not stirred')"
OTHERS = {"planner": [plan("greet")], "lead": [instruct("Print the greeting.")]}


def run(folder, module, *words):
    environment = {**os.environ, "PRECISION_SHAKING_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done


def session(folder, *teachers):
    """The script after a session whose every proposal was accepted."""
    script, answers = folder / "greet.py", folder / "answers.jsonl"
    script.write_text(SCRIPT)
    answers.write_text(json.dumps({"verdict": "accepted"}) + "\n")
    run(folder, "precision_shaking", "run", script, "greet", *teachers, "--answers", answers)
    return script.read_text().strip()


def test_a_student_works_as_it_was_taught(tmp_path):
    answer = {"content": work(TAUGHT, reasoning="I print it."), "logprobs": False}
    with ScriptedTeacher({**OTHERS, "worker": [answer]}) as server:
        assert session(tmp_path, "--teacher", server.teacher()) == TAUGHT
        training = ["--student", "smollm2", "--max-steps", 25, "--learning-rate", 1e-3]
        run(tmp_path, "dorpo", "train", *training, "--output", tmp_path / "learned")
        merging = ["--trained", tmp_path / "learned", "--output", tmp_path / "mine"]
        told = run(tmp_path, "dorpo", "merge", *merging).stderr.splitlines()[-1]
        own = told.removeprefix("As a teacher: ")
        assert own == f"embedded/{tmp_path}/mine/mine-f16.gguf"
        before = len(server.asked("worker"))
        assert session(tmp_path, "--worker", own, "--teacher", server.teacher()) == TAUGHT
        assert len(server.asked("worker")) == before
    with Store.open(tmp_path / "home" / "dataset.db") as store:
        *_, row = store.rows()
    assert (row.teacher, row.chosen_soft_labels is not None) == (own, True)
