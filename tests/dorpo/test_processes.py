"""A training in two processes is the training in one, down to the adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import several_processes
import torch
from safetensors.torch import load_file
from tiny_student import save_student

from dorpo.store import Store
from dorpo.training import checkpoints

pytestmark = pytest.mark.train

TESTS = Path(several_processes.__file__).parent
# Sums in another order round differently, and Adam's division makes that larger where a slope is tiny.
WEIGHTS = 5e-5


def launch(tmp_path: Path, *arguments: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """`torchrun` on this machine; its own port, so that tests can run beside each other."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    home = {"PRECISION_SHAKING_HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join(paths)}
    result = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **home, "OMP_NUM_THREADS": "1"},
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The results of one process and of two."""
    folder = tmp_path_factory.mktemp("two")
    launch(folder, several_processes.__file__, folder / "results.pt")
    count, results = torch.load(folder / "results.pt")
    assert count == 2
    alone = {name: several_processes.train(options) for name, options in several_processes.WAYS.items()}
    return alone, results


@pytest.mark.parametrize("way", several_processes.WAYS)
def test_two_processes_take_the_steps_of_one(both, way):
    (alone, weights), (together, same_weights) = (results[way] for results in both)
    assert len(alone) == len(together) == 5
    assert "eval_loss" in alone[-1]
    for entry, same in zip(alone, together, strict=True):
        assert _without_times(same) == pytest.approx(_without_times(entry), abs=1e-5, rel=1e-4)
    torch.testing.assert_close(same_weights, weights, atol=WEIGHTS, rtol=0)


def _without_times(entry: dict[str, float]) -> dict[str, float]:
    """How fast it went is another matter."""
    return {name: value for name, value in entry.items() if not name.endswith(("_second", "_runtime"))}


@pytest.fixture
def options(tmp_path, story):
    with Store.open(tmp_path / "dataset.db") as store:
        told = story(store, steps=3)
        for step in range(3):
            told.rejected("error", step)
            told.accepted(step, soft=step == 0)
    student = save_student(tmp_path / "student")
    found = ["--db", tmp_path / "dataset.db", "--student", student, "--device", "cpu", "--json"]
    return ["-m", "dorpo", "train", *found, "--groups-per-step", 3, "--learning-rate", 0.01]


def figures(result: subprocess.CompletedProcess[str]) -> list[dict[str, float]]:
    """What two trainings of the same rows must share."""
    events = [json.loads(line) for line in result.stdout.splitlines()]
    different = {"run", "output", "seconds", "estimate_seconds", "eta_seconds", "free_bytes"}
    return [{name: event[name] for name in event.keys() - different} for event in events]


def test_the_command_trains_in_two_processes_and_tells_it_once(tmp_path, options):
    one, two = (
        launch(tmp_path, *options, "--max-steps", 4, "--output", tmp_path / str(count), processes=count)
        for count in (1, 2)
    )
    for event, same in zip(figures(one), figures(two), strict=True):
        assert same.keys() == event.keys()
        for name, value in event.items():
            if isinstance(value, float):
                assert same[name] == pytest.approx(value, abs=1e-5, rel=1e-4), name
            elif name != "metrics":
                assert same[name] == value, name
    weights, same = (load_file(tmp_path / count / "adapter_model.safetensors") for count in "12")
    torch.testing.assert_close(same, weights, atol=WEIGHTS, rtol=0)


def test_the_checkpoints_of_two_processes_are_whole_and_go_on(tmp_path, options):
    saving = ["--save-steps", 2, "--output", tmp_path / "out"]
    launch(tmp_path, *options, *saving, "--max-steps", 4)
    found = checkpoints.latest(tmp_path / "out")
    assert found is not None
    assert found.step == 4
    assert sorted(path.name for path in found.folder.glob("rng_state*")) == [
        "rng_state_0.pth",
        "rng_state_1.pth",
    ]
    assert not list((tmp_path / "out").glob(".checkpoint-*"))
    whole = load_file(tmp_path / "out" / "adapter_model.safetensors")
    (found.folder / checkpoints.MANIFEST).unlink()
    launch(tmp_path, *options, *saving, "--max-steps", 4, "--resume")
    again = load_file(tmp_path / "out" / "adapter_model.safetensors")
    torch.testing.assert_close(again, whole, atol=1e-5, rtol=0)
