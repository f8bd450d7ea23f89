"""Checkpoints on disk: whole ones are found, others are passed over, and only the last are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dorpo.training import checkpoints
from dorpo.training.checkpoints import MANIFEST, folder_of, latest, publishing, sweep
from dorpo.training.request import TrainingRefusedError, TrainingRequest
from dorpo.training.resuming import identity, starting_point

ABOUT = {"seed": 0}


def write(output: Path, step: int, about=ABOUT) -> Path:
    with publishing(output, step, about) as scratch:
        inside = folder_of(scratch, step)
        (inside / "part").mkdir(parents=True)
        (inside / "weights").write_bytes(bytes([step]) * 1000)
        (inside / "part" / "state").write_text("state")
    return folder_of(output, step)


def test_the_last_checkpoint_is_found_with_what_it_says(tmp_path):
    write(tmp_path, 9)
    folder = write(tmp_path, 10)
    found = latest(tmp_path)
    assert found is not None
    assert (found.folder, found.step, found.about) == (folder, 10, ABOUT)


@pytest.mark.parametrize("output", ["", "none"])
def test_a_folder_without_checkpoints_has_no_last_one(tmp_path, output):
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "checkpoint-3").write_text("a file")
    assert latest(tmp_path / output) is None


def test_only_the_last_two_are_kept(tmp_path):
    for step in (2, 4, 11, 20):
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-11", "checkpoint-20"]


DAMAGES = {
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: (folder / MANIFEST).write_text('{"files": {'),
    "an empty manifest": lambda folder: (folder / MANIFEST).write_text("{}"),
    "another kind of manifest": lambda folder: (folder / MANIFEST).write_text('{"files": [1], "about": {}}'),
    "a cut file": lambda folder: (folder / "weights").write_bytes(b"\x04" * 500),
    "other bytes": lambda folder: (folder / "weights").write_bytes(b"\x05" * 1000),
    "a missing file": lambda folder: (folder / "part" / "state").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    before = write(tmp_path, 2)
    damage(write(tmp_path, 4))
    found = latest(tmp_path)
    assert found is not None
    assert found.folder == before


def test_a_damaged_checkpoint_gives_way_to_the_new_one_of_its_step(tmp_path):
    DAMAGES["a cut file"](write(tmp_path, 4))
    write(tmp_path, 4)
    found = latest(tmp_path)
    assert found is not None
    assert found.step == 4


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    write(tmp_path, 2)
    with pytest.raises(FileNotFoundError), publishing(tmp_path, 4, ABOUT) as scratch:
        (folder_of(scratch, 4) / "weights").write_bytes(b"its folder is not there")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_what_a_killed_writer_leaves_counts_for_nothing_and_is_removed(tmp_path):
    half = tmp_path / ".checkpoint-abc" / "checkpoint-4"
    half.mkdir(parents=True)
    (half / "weights").write_bytes(b"half")
    assert latest(tmp_path) is None
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def request(output: Path, **options) -> TrainingRequest:
    return TrainingRequest(db=output / "d.db", student="smollm2", output=output, **options)


def test_without_a_checkpoint_resuming_begins_at_the_beginning(tmp_path):
    assert starting_point(request(tmp_path, resume=True), "rows") is None


def test_the_same_training_goes_on_wherever_its_files_lie(tmp_path):
    write(tmp_path, 4, identity(request(tmp_path, seed=3), "rows"))
    again = TrainingRequest(
        db=tmp_path / "moved.db", student="smollm2", output=tmp_path, seed=3, save_steps=7, resume=True
    )
    found = starting_point(again, "rows")
    assert found is not None
    assert found.step == 4


@pytest.mark.parametrize(
    ("options", "rows", "named"),
    [
        ({"learning_rate": 1.0}, "rows", "--learning-rate"),
        ({}, "other rows", "dataset"),
        ({"seed": 1, "beta": 0.5}, "rows", "--beta, --seed"),
    ],
)
def test_another_training_does_not_go_on(tmp_path, options, rows, named):
    write(tmp_path, 4, identity(request(tmp_path), "rows"))
    with pytest.raises(TrainingRefusedError, match=f"had another {named}: "):
        starting_point(request(tmp_path, resume=True, **options), rows)


def test_checkpoints_are_not_overwritten_unless_that_is_asked_for(tmp_path):
    write(tmp_path, 4, identity(request(tmp_path), "rows"))
    with pytest.raises(TrainingRefusedError, match="pass --resume"):
        starting_point(request(tmp_path, save_steps=2), "rows")
    assert starting_point(request(tmp_path), "rows") is None


def test_the_manifest_names_every_file(tmp_path):
    manifest = json.loads((write(tmp_path, 2) / MANIFEST).read_text())
    assert sorted(manifest["files"]) == ["part/state", "weights"]
    assert all(len(checksum) == 64 for checksum in manifest["files"].values())
    assert checkpoints.KEPT == 2
