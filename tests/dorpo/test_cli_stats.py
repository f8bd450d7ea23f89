"""`python -m dorpo stats` and `export`, as a user starts them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dorpo.cli import main
from dorpo.store import Store

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story

HEAVY = ("torch", "transformers", "peft", "accelerate", "dspy", "litellm", "precision_shaking")

CALL = {"calls": 1, "input_tokens": 100, "output_tokens": 10, "seconds": 0.5}


@pytest.fixture
def dataset(store: Store, story: type[Story]) -> str:
    session = story(store, steps=2)
    session.rejected("redo", 0)
    session.accepted(0, cause="redo", soft=True)
    session.accepted(1)
    session.call("planner", cost=0.25)
    session.call("worker", 0, teacher="other")
    return str(store.path)


def test_stats_as_json_is_one_object(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--db", dataset, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats.pop("size_bytes") > 0
    assert stats == {
        "sessions": 1,
        "steps": 2,
        "attempts": 3,
        "rows": 2,
        "open_rows": 0,
        "with_rejected": 1,
        "with_soft_labels": 1,
        "by_reason": {"redo": 1},
        "by_teacher": {"teacher": 2},
        "by_labeller": {"teacher": 1},
        "path": dataset,
        "usage": [
            {"agent": "planner", "teacher": "teacher", **CALL, "cost_usd": 0.25, "unpriced_calls": 0},
            {"agent": "worker", "teacher": "other", **CALL, "cost_usd": None, "unpriced_calls": 1},
        ],
        "usage_total": {
            **{name: 2 * value for name, value in CALL.items()},
            "cost_usd": 0.25,
            "unpriced_calls": 1,
        },
    }


def test_stats_for_people(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--db", dataset]) == 0
    shown = capsys.readouterr().out
    assert "2 complete" in shown
    assert "redo" in shown
    table = [line.split() for line in shown.splitlines()[-4:]]
    assert table[1:] == [
        ["planner", "teacher", "1", "100", "10", "0.5", "0.2500"],
        ["worker", "other", "1", "100", "10", "0.5", "unknown"],
        ["all", "2", "200", "20", "1.0", "0.2500+"],
    ]


def test_stats_call_the_user_you_and_head_nothing_that_is_empty(
    store: Store, story: type[Story], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", "--db", str(store.path)]) == 0
    assert "by\n" not in capsys.readouterr().out
    session = story(store)
    session.attempt(teacher="embedded/smollm2", soft=True)
    session.accepted(cause="amended", teacher="user")
    assert main(["stats", "--db", str(store.path)]) == 0
    shown = capsys.readouterr().out
    assert "\nchosen text by\n  you" in shown
    assert "soft labels by" not in shown


def test_the_default_dataset_is_the_users_own(
    dataset: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRECISION_SHAKING_HOME", str(Path(dataset).parent))
    assert main(["stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["path"] == dataset


@pytest.mark.parametrize(
    ("line_format", "words"),
    [("trl", "2 rows written"), ("openai", "1 row written"), ("openai", "1 without")],
)
def test_export_says_what_was_written(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], line_format: str, words: str
) -> None:
    output = tmp_path / "rows.jsonl"
    assert main(["export", "--db", dataset, "--format", line_format, "--output", str(output)]) == 0
    assert words in capsys.readouterr().err
    assert output.exists()


def test_an_export_that_cannot_be_written_is_one_sentence(
    dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "nowhere" / "rows.jsonl"
    assert main(["export", "--db", dataset, "--format", "trl", "--output", str(output)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_parquet_is_written_where_pyarrow_is(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["export", "--db", dataset, "--format", "parquet", "--output", str(tmp_path / "rows.parquet")]
    assert main(command) == 0
    assert capsys.readouterr().err.startswith("2 rows written to ")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(
        "Parquet needs pyarrow, which is not installed: run pip install "
    )


def test_a_missing_dataset_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", "--db", str(tmp_path / "none.db")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("There is no dataset at ")
    assert captured.out == ""


def test_stats_and_export_load_nothing_heavy(dataset: str, tmp_path: Path) -> None:
    program = f"""
import sys
from dorpo.cli import main
assert main(["stats", "--db", {dataset!r}]) == 0
assert main(["export", "--db", {dataset!r}, "--format", "trl", "--output", {str(tmp_path / "o")!r}]) == 0
assert not set({HEAVY!r}) & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_training_without_torch_says_what_to_install(dataset: str, tmp_path: Path) -> None:
    # A torch that cannot be imported stands for one that is not installed.
    program = f"""
import sys
sys.modules["torch"] = None
from dorpo.cli import main
arguments = ["--db", {dataset!r}, "--output", {str(tmp_path / "student")!r}, "--min-rows", "1"]
sys.exit(main(["train", *arguments]))
"""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    sentence = result.stderr.strip()
    assert sentence.startswith("Training needs torch")
    assert sentence.endswith("pip install 'precision-shaking[train]'")
    assert "\n" not in sentence


def test_the_module_starts_as_a_program(dataset: str) -> None:
    command = [sys.executable, "-m", "dorpo", "stats", "--db", dataset, "--json"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(result.stdout)["rows"] == 2
