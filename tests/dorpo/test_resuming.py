"""`python -m dorpo train --save-steps N --resume` after a kill that nothing can catch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_student import save_student

from dorpo.store import Store
from dorpo.training import checkpoints

pytestmark = pytest.mark.train

STEPS = 12


@pytest.fixture
def options(tmp_path, story) -> list[str]:
    database = tmp_path / "dataset.db"
    with Store.open(database) as store:
        told = story(store, steps=3)
        told.rejected("error", 0)
        told.accepted(0, soft=True)
        told.rejected("redo", 1)
        told.accepted(1)
        told.accepted(2, soft=True)
    student = save_student(tmp_path / "student")
    named = ("--db", database, "--student", student, "--max-steps", STEPS, "--learning-rate", 0.01)
    return [*map(str, named), "--device", "cpu", "--json"]


def start(options: list[str], output: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dorpo", "train", *options, "--output", str(output), *more]
    environment = {**os.environ, "PRECISION_SHAKING_HOME": str(output / "home"), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in out.splitlines()]


def losses(events: list[dict[str, Any]]) -> dict[int, float]:
    return {event["step"]: event["loss"] for event in events if event["kind"] == "training_progress"}


def kill_after(process: subprocess.Popen[str], step: int) -> None:
    """The step's checkpoint is being written when its progress has been told."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("step") == step:
            process.kill()
            break
    process.communicate(timeout=60)
    assert process.returncode < 0


def test_a_training_goes_on_with_the_memory_mode_it_had(tmp_path, options):
    whole, low = tmp_path / "whole", tmp_path / "low"
    expected = losses(finish(start(options, whole)))
    kill_after(start(options, low, "--save-steps", "1", "--low-memory"), 5)
    found = checkpoints.latest(low)
    assert found is not None
    assert found.about["low_memory"] is True
    started, *again = finish(start(options, low, "--save-steps", "100", "--resume"))
    assert started["low_memory"] is True
    assert json.loads((low / "metrics.json").read_text())["settings"]["low_memory"] is True
    after = {step: loss for step, loss in expected.items() if step > found.step}
    assert losses(again) == pytest.approx(after, abs=1e-5)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path, options):
    whole = finish(start(options, tmp_path / "whole"))
    output = tmp_path / "killed"
    reached = 0
    for step in (5, 8):
        kill_after(start(options, output, "--save-steps", "1", "--resume"), step)
        found = checkpoints.latest(output)
        assert found is not None
        assert step - 1 <= found.step <= STEPS
        assert found.step > reached
        reached = found.step
    again = finish(start(options, output, "--save-steps", "1", "--resume"))
    assert list(losses(again)) == list(range(reached + 1, STEPS + 1))
    expected = {step: loss for step, loss in losses(whole).items() if step > reached}
    assert losses(again) == pytest.approx(expected, abs=1e-5)
    assert again[-1]["metrics"]["after"] == pytest.approx(whole[-1]["metrics"]["after"], abs=1e-4)
    assert again[-1]["metrics"]["before"] == pytest.approx(whole[-1]["metrics"]["before"], abs=1e-5)
    kept = sorted(path.name for path in output.iterdir() if "checkpoint" in path.name)
    assert kept == [f"checkpoint-{STEPS - 1}", f"checkpoint-{STEPS}"]
    log = json.loads((output / "metrics.json").read_text())["log"]
    assert [entry["step"] for entry in log if "loss" in entry] == list(range(1, STEPS + 1))
    from_the_end = finish(start(options, output, "--save-steps", "1", "--resume"))
    assert losses(from_the_end) == {}
    assert from_the_end[-1]["metrics"]["after"] == pytest.approx(again[-1]["metrics"]["after"], abs=1e-5)
