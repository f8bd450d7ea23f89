"""`python -m dorpo train` as a program: what it writes where, how it refuses, how it stops."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_student import save_student

from dorpo.store import AttemptRecord, Store
from dorpo.training.request import TrainingRefusedError, TrainingRequest, read_rows

pytestmark = pytest.mark.train


@pytest.fixture
def database(tmp_path, story) -> Path:
    path = tmp_path / "dataset.db"
    with Store.open(path) as store:
        told = story(store, steps=2)
        told.rejected("error", 0)
        told.rejected("redo", 0)
        told.accepted(0, soft=True)
        told.accepted(1)
    return path


@pytest.fixture
def student(tmp_path) -> Path:
    return save_student(tmp_path / "student")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dorpo", "train", *map(str, arguments)]


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PRECISION_SHAKING_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}


def train(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=300,
        check=False,
    )


def trainings(database: Path) -> list[sqlite3.Row]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("SELECT * FROM training").fetchall()
    finally:
        connection.close()


def test_json_lines_tell_the_training_and_the_adapter_is_what_they_say(tmp_path, database, student):
    output = tmp_path / "out"
    options = ("--db", database, "--student", student, "--output", output, "--max-steps", 3, "--json")
    result = train(tmp_path, *options, "--learning-rate", 0.01)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["kind"] for event in events] == [
        "training_started",
        "training_evaluated",
        *["training_progress"] * 3,
        "training_evaluated",
        "training_finished",
    ]
    started, before, *progress, after, finished = events
    assert (started["rows"], started["prompts"], started["steps"]) == (3, 2, 3)
    assert started["device"] in ("cpu", "cuda", "mps")
    assert [event["step"] for event in progress] == [1, 2, 3]
    assert all(event["eta_seconds"] >= 0 for event in progress)
    assert (before["when"], after["when"]) == ("before", "after")
    assert after["chosen_perplexity"] < before["chosen_perplexity"]
    assert (finished["status"], finished["output"]) == ("done", str(output))
    assert evaluated_again(database, student, output) == pytest.approx(
        {name: after[name] for name in ("pair_accuracy", "chosen_perplexity", "kl")}, rel=1e-4
    )
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["last_step"] == 3
    assert metrics["data"]["rows"] == 3
    assert (output / "tokenizer.json").is_file()
    (stored,) = trainings(database)
    assert (stored["status"], stored["last_step"]) == ("done", 3)
    assert stored["dataset_sha256"] == metrics["dataset_sha256"]


def evaluated_again(database: Path, student: Path, adapter: Path) -> dict[str, float]:
    from peft import PeftModel

    from dorpo.encoding import encode_rows
    from dorpo.evaluation.figures import summarize
    from dorpo.evaluation.measuring import measure
    from dorpo.student import load_student

    base = load_student(str(student), lora=None)
    with Store.open(database) as store:
        rows, _ = store.snapshot()
    model = PeftModel.from_pretrained(base.model, adapter)
    figures = summarize(measure(model, encode_rows(rows, base.tokens)))
    return {name: getattr(figures, name) for name in ("pair_accuracy", "chosen_perplexity", "kl")}


def test_a_person_sees_one_line_of_before_and_after(tmp_path, database, student):
    result = train(
        tmp_path, "--db", database, "--student", student, "--output", tmp_path / "o", "--max-steps", 1
    )
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    assert line.startswith("pair accuracy ")
    assert "chosen perplexity" in line
    assert line.endswith("nats/token")
    assert "3 rows with 2 prompts" in result.stderr
    assert "Step 1 of 1: loss " in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_training_and_saves_it(tmp_path, database, student, number):
    output = tmp_path / "out"
    options = ("--db", database, "--student", student, "--output", output, "--max-steps", 100_000, "--json")
    process = subprocess.Popen(
        command(*options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["kind"] == "training_progress":
            process.send_signal(number)
            break
    rest, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert json.loads(rest.splitlines()[-1])["status"] == "cancelled"
    assert (output / "adapter_model.safetensors").is_file()
    assert evaluated_again(database, student, output)["chosen_perplexity"] > 0
    (stored,) = trainings(database)
    assert stored["status"] == "cancelled"
    assert stored["last_step"] >= 1


@pytest.mark.parametrize("as_json", [True, False])
def test_a_missing_dataset_is_refused_in_one_sentence(tmp_path, as_json):
    options = ["--db", tmp_path / "none.db", "--output", tmp_path / "out", *(["--json"] if as_json else [])]
    result = train(tmp_path, *options)
    assert result.returncode == 2
    assert "There is no dataset at" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["kind"] for event in events] == (["training_failed"] if as_json else [])


def test_a_dataset_without_complete_rows_is_refused(tmp_path, story):
    with Store.open(tmp_path / "dataset.db") as store:
        story(store).rejected("error")
    result = train(tmp_path, "--db", tmp_path / "dataset.db", "--output", tmp_path / "out")
    assert (result.returncode, result.stdout) == (2, "")
    assert "no complete rows yet" in result.stderr


def test_too_few_rows_are_refused(tmp_path, database):
    result = train(tmp_path, "--db", database, "--output", tmp_path / "out", "--min-rows", 10)
    assert result.returncode == 2
    assert "has only 3 rows, and a training needs 10" in result.stderr


def test_an_unknown_student_is_refused(tmp_path, database):
    result = train(tmp_path, "--db", database, "--output", tmp_path / "out", "--student", "nobody")
    assert result.returncode == 2
    assert result.stderr.startswith("There is no student nobody")
    assert trainings(database) == []


def test_an_output_that_cannot_be_written_is_refused(tmp_path, database):
    (tmp_path / "file").write_text("in the way")
    result = train(tmp_path, "--db", database, "--output", tmp_path / "file" / "out")
    assert result.returncode == 2
    assert "cannot be written" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_rows_longer_than_the_student_reads_are_refused(tmp_path, database, student):
    options = ("--db", database, "--student", student, "--output", tmp_path / "out", "--max-length", 10)
    result = train(tmp_path, *options)
    assert result.returncode == 2
    assert "longer than 10 tokens" in result.stderr


def flawed(store: Store, story) -> None:
    """Beside three good rows: a step told twice, an empty answer, the same on both sides, a credential."""
    told = story(store, steps=2)
    told.rejected("error", 0)
    told.rejected("redo", 0)
    told.accepted(0, soft=True)
    told.accepted(1)
    key = "AKIA" + "ABCDEFGH234567AB"
    for uid, chosen, rejected in (
        ("same", "good", None),
        ("again", "good", None),
        ("empty", " \n", None),
        ("alike", "good", "good"),
        ("secret", f"key = '{key}'\n", "no key"),
        ("hidden", "fine", f"key = '{key}'\n"),
    ):
        session(store, uid, chosen, rejected)


def session(store: Store, uid: str, chosen: str, rejected: str | None) -> None:
    about = {"document": "a.py", "language": "python", "request": "r", "script": "", "instance": "script"}
    store.start_session(uid=uid, app_version="0", **about)
    store.add_steps(uid, ["step"])
    store.fix_prompt(uid, 0, instruction="the same", script="")
    for cycle, response in enumerate([text for text in (rejected, chosen) if text is not None], 1):
        attempt = AttemptRecord(
            uid=f"{uid}-{cycle}",
            cycle=cycle,
            cause="first" if cycle == 1 else "redo",
            instruction="",
            base_script="",
            response=response,
            reasoning="",
            script=response,
            teacher="t",
        )
        store.add_attempt(uid, 0, attempt)
        if cycle == 1 and rejected is not None:
            store.reject(attempt.uid, "redo")
        else:
            store.accept(uid, 0, attempt.uid)


DROPPED = {"duplicate": 1, "empty": 1, "chosen and rejected alike": 1, "with credentials": 2}


def test_rows_that_teach_nothing_or_hold_credentials_are_left_out_and_counted(tmp_path, story):
    with Store.open(tmp_path / "dataset.db") as store:
        flawed(store, story)
    data = read_rows(TrainingRequest(db=tmp_path / "dataset.db", student="", output=tmp_path))
    assert data.dropped == DROPPED
    assert len(data.rows) == 4
    assert not any(
        "AKIA" in text for row in data.rows for text in (row.prompt, row.chosen, row.rejected or "")
    )
    request = TrainingRequest(db=tmp_path / "dataset.db", student="", output=tmp_path, min_rows=5)
    with pytest.raises(TrainingRefusedError) as refusal:
        read_rows(request)
    assert "has only 4 rows to learn from (and " in str(refusal.value)
    assert "2 with credentials" in str(refusal.value)


def test_what_became_of_the_rows_is_told_and_kept(tmp_path, story, student):
    database, output = tmp_path / "dataset.db", tmp_path / "out"
    with Store.open(database) as store:
        flawed(store, story)
        session(store, "long", "long " * 400, None)
    dropped = {**DROPPED, "too long for the student": 1}
    options = ("--db", database, "--student", student, "--output", output, "--max-steps", 1)
    result = train(tmp_path, *options, "--max-length", 1000, "--json")
    assert result.returncode == 0, result.stderr
    started = json.loads(result.stdout.splitlines()[0])
    assert (started["found"], started["rows"], started["dropped"]) == (10, 4, dropped)
    assert started["estimate_bytes"] > 0
    assert (started["low_memory"], started["advice"]) == (False, "")
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["dropped"] == dropped
    (stored,) = trainings(database)
    assert json.loads(stored["config"])["dropped"] == dropped
    assert metrics["dataset_sha256"] == stored["dataset_sha256"]
    shown = train(tmp_path, *options, "--max-length", 1000)
    lines = [line.split() for line in shown.stderr.splitlines()]
    assert ["complete", "rows", "10"] in lines
    assert ["left", "out:", "with", "credentials", "2"] in lines
    assert ["to", "learn", "from", "4"] in lines
    assert " of memory." in shown.stderr


def test_every_weight_is_trained_when_asked_for_and_the_folder_is_a_student(tmp_path, database, student):
    output = tmp_path / "out"
    output.mkdir()
    (output / "adapter_config.json").write_text("{}")  # of an earlier training
    asked = ("--full", "--gradient-checkpointing", "--or-soft-label", "teacher", "--or-tokens", "diff")
    more = ("--chunk-kd", "alm", "--group-weight", "prompt", "--top-k", 5, "--or-label-noise", "redo=0.1")
    options = ("--db", database, "--student", student, "--output", output, "--max-steps", 1)
    result = train(tmp_path, *options, *asked, *more)
    assert result.returncode == 0, result.stderr
    assert (output / "model.safetensors").is_file()
    assert not list(output.glob("adapter_*"))
    settings = json.loads((output / "metrics.json").read_text())["settings"]
    assert settings["or_label_noise"] == {"redo": 0.1}
    assert (settings["full"], settings["or_tokens"], settings["top_k"]) == (True, "diff", 5)
    again = train(
        tmp_path, *options[:2], "--student", output, "--output", tmp_path / "more", "--max-steps", 1
    )
    assert again.returncode == 0, again.stderr


def test_curves_are_written_for_tensorboard(tmp_path, database, student):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    output = tmp_path / "out"
    options = ("--db", database, "--student", student, "--output", output, "--max-steps", 2)
    result = train(tmp_path, *options, "--report-to", "tensorboard", "--json")
    assert result.returncode == 0, result.stderr
    (folder,) = {path.parent for path in output.rglob("events.out.tfevents.*")}
    curves = EventAccumulator(str(folder))
    curves.Reload()
    losses = [event.value for event in curves.Scalars("train/loss")]
    told = [json.loads(line) for line in result.stdout.splitlines()]
    progress = [event["loss"] for event in told if event["kind"] == "training_progress"]
    assert losses == pytest.approx(progress, rel=1e-5)
    assert "train/rewards/accuracies" in curves.Tags()["scalars"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--qlora"], "QLoRA needs a CUDA device, and this is cpu: leave --qlora out."),
        (["--qlora", "--full"], "A model in four bits cannot be trained itself"),
        (["--bf16"], "bf16 needs a CUDA device that computes in bfloat16: leave it out."),
        (["--or-label-noise", "mood=0.1"], "or_label_noise has no reason mood"),
        (["--or-teacher-weight", "0.9"], "or_teacher_weight must be between 0 and 0.5"),
        (["--low-memory", "--gradient-checkpointing"], "low_memory needs"),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused_in_one_sentence(
    tmp_path, database, student, options, message
):
    given = ("--db", database, "--student", student, "--output", tmp_path / "out", "--device", "cpu")
    result = train(tmp_path, *given, *options)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert trainings(database) == []


def test_help_is_a_page_with_groups_defaults_and_examples(tmp_path):
    page = train(tmp_path, "--help").stdout
    for group in ("rows:", "student:", "objective:", "steps:", "memory and precision:", "examples:"):
        assert f"\n{group}\n" in page
    for default in ("(default: 0.1)", "(default: smollm2)", "(default: 20)"):
        assert default in " ".join(page.split())


def test_low_memory_trains_too(tmp_path, database, student):
    options = ("--db", database, "--student", student, "--output", tmp_path / "out", "--max-steps", 1)
    result = train(tmp_path, *options, "--low-memory")
    assert result.returncode == 0, result.stderr
    settings = json.loads((tmp_path / "out" / "metrics.json").read_text())["settings"]
    assert settings["low_memory"] is True


def test_sessions_are_held_out_whole_once_there_are_enough():
    from dorpo.align import hard
    from dorpo.batches import Group
    from dorpo.training.plan import hold_out

    groups = [Group((1,), (2,), hard((2,)), (), session=str(n // 2)) for n in range(40)]
    trained, held_out = hold_out(groups, 0.1, seed=0)
    assert len(held_out) == 4
    assert not {group.session for group in trained} & {group.session for group in held_out}
    assert hold_out(groups[:18], 0.1, seed=0) == (groups[:18], [])
    assert len(hold_out(groups, 0.99, seed=0)[0]) == 2


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--holdout", "1", "must be at least 0 and less than 1, and not 1"),
        ("--epochs", "-1", "must be more than 0, and not -1"),
        ("--learning-rate", "fast", "must be a number, and not fast"),
        ("--max-steps", "0.5", "must be a whole number of at least 1, and not 0.5"),
    ],
)
def test_senseless_numbers_are_refused(tmp_path, option, value, message):
    result = train(tmp_path, "--output", tmp_path / "out", option, value)
    assert result.returncode == 2
    assert result.stderr.endswith(f"argument {option}: {message}\n")


def test_long_groups_are_left_out_and_counted():
    from dorpo.align import hard
    from dorpo.batches import Group
    from dorpo.training.plan import make_plan

    groups = [Group((1,) * n, (2,), hard((2,)), (), rows=(f"{n}a", f"{n}b")) for n in (5, 50)]
    request = TrainingRequest(db=Path(), student="", output=Path(), max_length=20, epochs=3)
    plan = make_plan(groups, request, window=100)
    assert (len(plan.trained), plan.skipped, plan.steps) == (1, 2, 3)
    # The only token of the answer is predicted and not read.
    assert plan.seconds(0.5) == pytest.approx(0.5 * (3 * 5 * 3 + 2 * 5))
