"""`python -m dorpo evaluate` and `sweep` as programs, with a student that learns in no time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_student import save_student

from dorpo.store import Store

pytestmark = pytest.mark.train

STEPS = 2
FEW = "Fewer than 10 prompts were measured: the figures show that it works, no more."


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def dorpo(place):
    """Runs a subcommand."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            env=environment(place),
            timeout=300,
            check=False,
        )

    return run


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "dorpo", *map(str, arguments)]


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "PRECISION_SHAKING_HOME": str(place / "home"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def database(place, story) -> Path:
    """Twelve sessions, of which a tenth is held out."""
    path = place / "dataset.db"
    with Store.open(path) as store:
        for n in range(12):
            told = story(store, uid=f"session{n:02}")
            told.rejected("error")
            told.accepted(soft=True)
    return path


@pytest.fixture(scope="module")
def student(place) -> Path:
    return save_student(place / "student")


@pytest.fixture(scope="module")
def adapter(place, dorpo, database, student) -> Path:
    folder = place / "adapter"
    options = ("--max-steps", STEPS, "--seed", 5, "--learning-rate", 0.01, "--output", folder, "--json")
    result = dorpo("train", "--db", database, "--student", student, *options)
    assert result.returncode == 0, result.stderr
    return folder


def check_image(path: Path) -> None:
    with Image.open(path) as image:
        image.verify()


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_base_and_adapter_are_measured_on_what_the_training_held_out(
    tmp_path, dorpo, database, student, adapter
):
    output = tmp_path / "report"
    result = dorpo("evaluate", "--db", database, "--adapter", adapter, "--output", output, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report == json.loads((output / "evaluation.json").read_text())
    assert (report["on"], report["student"], report["notes"]) == ("held-out rows", str(student), [FEW])
    base, trained = report["candidates"]
    assert (base["name"], trained["name"]) == ("base", "adapter")
    told = metrics(adapter)
    assert len(told["held_out_sessions"]) == 1
    for candidate, when in ((base, "before"), (trained, "after")):
        figures = candidate["figures"]
        assert figures["prompts"] == 1
        for name, value in told[when].items():
            assert figures[name] == pytest.approx(value, rel=1e-4)
    table = (output / "evaluation.md").read_text()
    assert "on 1 prompt (held-out rows) of " in table
    assert "| base " in table
    assert "| pair accuracy " in table
    assert f"{trained['figures']['chosen_perplexity']:.3f}" in table
    assert f"{trained['gain']['kl']:+.3f}" in table
    assert base["gain"] is None
    assert "](evaluation.png)" in table
    check_image(output / "evaluation.png")


def grown(path: Path, database: Path, story, adapter: Path) -> Path:
    """The dataset later: five sessions more, and another verdict in one that was trained on."""
    shutil.copy(database, path)
    seen = metrics(adapter)["trained_sessions"][0]
    with Store.open(path) as store:
        for n in range(5):
            story(store, uid=f"late{n:02}").accepted()
        attempt = f"{seen}-0-1-worker"
        store.add_feedback(attempt, words="well", verdict="redo", decided_by="analyzer")
        store.relabel(attempt, "accepted")
    return path


def test_what_was_harvested_since_is_measured_beside_what_was_held_out(
    tmp_path, dorpo, database, story, adapter
):
    later = grown(tmp_path / "grown.db", database, story, adapter)
    told = metrics(adapter)
    assert len(told["trained_sessions"]) == 11
    assert not set(told["trained_sessions"]) & set(told["held_out_sessions"])
    result = dorpo("evaluate", "--db", later, "--adapter", adapter, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["on"] == "held-out rows and rows harvested since"
    counts = "Prompts that the training held out: 1; of sessions harvested since: 5."
    assert set(report["notes"]) == {counts, FEW}
    assert [candidate["figures"]["prompts"] for candidate in report["candidates"]] == [6, 6]
    compared = ("--compare", "base,sft", "--output", tmp_path / "o")
    refused = dorpo("evaluate", "--db", later, "--adapter", adapter, *compared)
    assert refused.returncode == 2
    assert refused.stderr.startswith("The dataset has changed since the training")


def test_an_adapter_that_does_not_tell_what_it_saw_is_measured_on_what_it_held_out(
    tmp_path, dorpo, database, story, adapter
):
    later = grown(tmp_path / "grown.db", database, story, adapter)
    older = shutil.copytree(adapter, tmp_path / "older")
    told = metrics(adapter)
    del told["trained_sessions"]
    (older / "metrics.json").write_text(json.dumps(told))
    result = dorpo("evaluate", "--db", later, "--adapter", older, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    _, trained = report["candidates"]
    assert trained["figures"]["chosen_perplexity"] == pytest.approx(
        told["after"]["chosen_perplexity"], rel=1e-4
    )
    assert "only what it held out is measured" in report["notes"][0]


def test_a_training_that_held_nothing_out_is_measured_on_newer_sessions(
    tmp_path, dorpo, database, story, student
):
    folder = tmp_path / "adapter"
    options = ("--max-steps", 1, "--holdout", 0, "--output", folder)
    trained = dorpo("train", "--db", database, "--student", student, *options)
    assert trained.returncode == 0, trained.stderr
    on = {}
    for path in (database, grown(tmp_path / "grown.db", database, story, folder)):
        result = dorpo("evaluate", "--db", path, "--adapter", folder, "--json")
        assert result.returncode == 0, result.stderr
        report = json.loads(result.stdout)
        on[report["on"]] = report["candidates"][0]["figures"]["prompts"]
    assert on == {"training rows": 12, "rows harvested since": 5}


def test_answers_are_run_and_a_random_student_passes_nothing(dorpo, database, student):
    options = ("--execute", "--prompts", 3, "--max-new-tokens", 5, "--json")
    result = dorpo("evaluate", "--db", database, "--student", student, *options)
    assert result.returncode == 0, result.stderr
    (base,) = json.loads(result.stdout)["candidates"]
    assert base["execution"]["rate"] == 0
    assert base["execution"]["outcomes"] == {"unreadable": base["execution"]["answers"]}


def test_answers_are_counted_without_being_run(dorpo, database, student):
    options = ("--answer", "--holdout", 0, "--prompts", 3, "--max-new-tokens", 5, "--json")
    result = dorpo("evaluate", "--db", database, "--student", student, *options)
    assert result.returncode == 0, result.stderr
    (base,) = json.loads(result.stdout)["candidates"]
    assert base["execution"] is None
    assert base["lengths"]["answers"] == 3
    assert base["lengths"]["mean_tokens"] <= 5 < base["lengths"]["chosen_tokens"]


def test_baselines_take_the_steps_and_the_seed_of_the_adapter(tmp_path, dorpo, database, adapter):
    output = tmp_path / "report"
    options = ("--adapter", adapter, "--compare", "sft,orpo,kl", "--output", output)
    result = dorpo("evaluate", "--db", database, *options)
    assert result.returncode == 0, result.stderr
    report = json.loads((output / "evaluation.json").read_text())
    names = [candidate["name"] for candidate in report["candidates"]]
    assert names == ["base", "adapter", "sft", "orpo", "kl"]
    own = metrics(adapter)
    assert own["settings"]["beta"] > 0
    for name, changed in {
        "sft": {"beta": 0.0, "kd_alpha": 0.0},
        "orpo": {"kd_alpha": 0.0},
        "kl": {"beta": 0.0, "kd_alpha": 1.0},
    }.items():
        told = metrics(output / name)
        assert told["settings"] == {**own["settings"], **changed}
        assert (told["last_step"], told["held_out_sessions"]) == (STEPS, own["held_out_sessions"])
    assert result.stdout == (output / "evaluation.md").read_text()
    perplexities = {candidate["figures"]["chosen_perplexity"] for candidate in report["candidates"]}
    assert len(perplexities) == 5


def test_a_student_trained_whole_is_measured_beside_baselines_of_its_kind(tmp_path, dorpo, database, student):
    folder, output = tmp_path / "whole", tmp_path / "report"
    options = ("--full", "--max-steps", STEPS, "--learning-rate", 0.01, "--output", folder)
    trained = dorpo("train", "--db", database, "--student", student, *options)
    assert trained.returncode == 0, trained.stderr
    compared = ("--trained", folder, "--compare", "sft", "--output", output, "--json")
    result = dorpo("evaluate", "--db", database, *compared)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (report["full"], report["on"], report["notes"]) == (True, "held-out rows", [FEW])
    base, whole, baseline = report["candidates"]
    assert [base["name"], whole["name"], baseline["name"]] == ["base", "trained", "sft"]
    for candidate, told in (
        (base, metrics(folder)["before"]),
        (whole, metrics(folder)["after"]),
        (baseline, metrics(output / "sft")["after"]),
    ):
        assert candidate["figures"]["chosen_perplexity"] == pytest.approx(told["chosen_perplexity"], rel=1e-4)
    assert (output / "sft" / "model.safetensors").is_file()
    assert f"beside its training `{folder}`" in (output / "evaluation.md").read_text()


def test_a_student_with_other_tokens_is_refused(tmp_path, dorpo, database, student):
    other = Path(shutil.copytree(student, tmp_path / "other"))
    tokens = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(tokens.replace("<|endoftext|>", "<|else|>"))
    result = dorpo("evaluate", "--db", database, "--trained", other, "--student", student)
    assert (result.returncode, result.stdout) == (2, "")
    assert f"The student in {other} has other tokens than {student}" in result.stderr


def test_the_sweep_trains_each_and_tells_what_it_made(tmp_path, dorpo, database, student):
    output = tmp_path / "sweep"
    options = ("--betas", "0,0.2", "--seeds", "1", "--max-steps", 1, "--output", output)
    result = dorpo("sweep", "--db", database, "--student", student, *options)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (output / "sweep.md").read_text()
    assert "](sweep.png)" in result.stdout
    check_image(output / "sweep.png")
    sweep = json.loads((output / "sweep.json").read_text())
    assert (sweep["status"], sweep["on"], sweep["planned"]) == ("done", "held-out rows", 2)
    assert [(run["beta"], run["seed"]) for run in sweep["runs"]] == [(0.0, 1), (0.2, 1)]
    for run in sweep["runs"]:
        told = metrics(Path(run["adapter"]))
        assert told["settings"]["beta"] == run["beta"]
        assert run["figures"]["chosen_perplexity"] == pytest.approx(
            told["after"]["chosen_perplexity"], rel=1e-4
        )
        assert f"{run['figures']['amplification']:.3f}" in result.stdout
    again = dorpo("sweep", "--db", database, "--student", student, *options)
    assert (again.returncode, again.stdout) == (2, "")
    assert "holds a sweep already" in again.stderr


def test_a_sweep_of_whole_students_measures_these(tmp_path, dorpo, database, student):
    output = tmp_path / "sweep"
    options = ("--full", "--betas", "0.2", "--max-steps", 1, "--learning-rate", 0.01, "--output", output)
    result = dorpo("sweep", "--db", database, "--student", student, *options)
    assert result.returncode == 0, result.stderr
    sweep = json.loads((output / "sweep.json").read_text())
    (run,) = sweep["runs"]
    told = metrics(Path(run["adapter"]))
    assert run["figures"]["chosen_perplexity"] == pytest.approx(told["after"]["chosen_perplexity"], rel=1e-4)
    assert run["figures"]["chosen_perplexity"] != pytest.approx(sweep["base"]["chosen_perplexity"], rel=1e-4)


def test_a_sweep_that_is_stopped_keeps_what_is_finished(tmp_path, database, student):
    output, betas = tmp_path / "sweep", ",".join(map(str, range(50)))
    options = ("--betas", betas, "--max-steps", 1, "--output", output)
    process = subprocess.Popen(
        command("sweep", "--db", database, "--student", student, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Training 2 of 50"):
            process.send_signal(signal.SIGINT)
            break
    table, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    sweep = json.loads((output / "sweep.json").read_text())
    assert sweep["status"] == "cancelled"
    assert 1 <= len(sweep["runs"]) < 50
    assert f"{len(sweep['runs'])} of 50 trainings finished" in table


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["evaluate", "--db", "none.db"], "There is no dataset at"),
        (
            ["evaluate", "--adapter", "nowhere"],
            "There is no adapter in nowhere (adapter_config.json is missing)",
        ),
        (["evaluate", "--compare", "sft"], "--compare sft needs --output DIR"),
        (["evaluate", "--compare", "sft", "--output", "."], "--compare sft needs --adapter DIR"),
        (["sweep", "--db", "none.db", "--max-steps", "1", "--output", "o"], "There is no dataset at"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(tmp_path, monkeypatch, dorpo, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    result = dorpo(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(sentence)
    assert len(result.stderr.splitlines()) == 1


def test_options_that_contradict_the_adapter_are_refused(dorpo, database, adapter):
    result = dorpo("evaluate", "--db", database, "--adapter", adapter, "--seed", 1, "--holdout", 0.5)
    assert result.returncode == 2
    assert "leave --holdout, --seed out" in result.stderr


@pytest.mark.parametrize(
    "option", [("--betas", "0,-1"), ("--betas", "0,0"), ("--seeds", "1,1"), ("--betas", "x")]
)
def test_senseless_numbers_are_refused(tmp_path, dorpo, option):
    result = dorpo("sweep", *option, "--max-steps", 1, "--output", tmp_path / "o")
    assert result.returncode == 2
    assert option[0] in result.stderr
