"""`python -m dorpo merge`: the merged folder is the adapted student, complete, and says what it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_student import END, save_student

from dorpo.merging import gguf_file
from dorpo.merging.gguf_file import ConversionError, Wish, find_converter
from dorpo.merging.merge import MergeRefusedError, merge
from dorpo.merging.model_card import Card, write_card
from dorpo.student import LoraSettings, load_student

pytestmark = pytest.mark.train

METRICS = {
    "student": "",
    "status": "done",
    "last_step": 7,
    "seconds": 3.5,
    "data": {
        "rows": 3,
        "by_reason": {"error": 2, "accepted at once": 1},
        "by_teacher": {"embedded/smollm2": 2, "openai/some|model": 1, "embedded//home/me/mine-f16.gguf": 1},
    },
    "settings": {"beta": 0.1, "seed": 0},
    "before": {"pair_accuracy": 0.5, "kl": None},
    "after": {"pair_accuracy": 1.0, "kl": 0.25},
}


@pytest.fixture
def student(tmp_path) -> Path:
    return save_student(tmp_path / "student")


@pytest.fixture
def adapter(tmp_path, student) -> Path:
    """A trained one: fresh adapters change nothing, so that merging them would show nothing."""
    folder = tmp_path / "adapter"
    model = load_student(str(student), lora=LoraSettings(rank=4, alpha=8)).model
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    (folder / "metrics.json").write_text(json.dumps({**METRICS, "student": str(student)}))
    return folder


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[5, 6, 7, 8]])).logits


def test_the_merged_folder_is_a_student_with_the_adapters_logits(tmp_path, student, adapter):
    from peft import PeftModel

    merged = merge(adapter, tmp_path / "merged")
    assert merged.difference < 1e-4
    base = load_student(str(student), lora=None).model
    before = logits(base)
    expected = logits(PeftModel.from_pretrained(base, adapter))
    again = load_student(str(merged.folder), lora=None)
    torch.testing.assert_close(logits(again.model), expected, atol=1e-4, rtol=0)
    assert (expected - before).abs().max() > 0.01
    assert again.tokens.tokenizer.convert_ids_to_tokens(again.tokens.end_of_turn) == END


def test_it_has_everything_to_chat_and_stops_at_the_end_of_the_turn(tmp_path, adapter):
    folder = merge(adapter, tmp_path / "merged").folder
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    tokens = load_student(str(folder), lora=None).tokens
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokens.end_of_turn == tokens.tokenizer.eos_token_id
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged", "student"]


@pytest.fixture
def whole(tmp_path, student) -> Path:
    """A student with other weights than it began with."""
    folder = tmp_path / "whole"
    trained = load_student(str(student), lora=None)
    torch.manual_seed(1)
    for weight in trained.model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    trained.model.save_pretrained(folder)
    trained.tokens.tokenizer.save_pretrained(folder)
    (folder / "metrics.json").write_text(json.dumps({**METRICS, "student": str(student)}))
    return folder


def test_a_student_trained_whole_gets_what_a_merged_one_has(tmp_path, student, whole):
    (tmp_path / gguf_file.SCRIPT).write_text(CONVERTER)
    merged = merge(whole, tmp_path / "merged", gguf=Wish(converter=find_converter(tmp_path)))
    assert merged.gguf is not None
    assert merged.gguf.read_bytes() == b"GGUF"
    again = load_student(str(merged.folder), lora=None)
    expected = logits(load_student(str(whole), lora=None).model)
    torch.testing.assert_close(logits(again.model), expected, atol=1e-5, rtol=0)
    generation = json.loads((merged.folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == again.tokens.end_of_turn == again.tokens.tokenizer.eos_token_id
    card = (merged.folder / "README.md").read_text()
    assert "Every weight was trained" in card
    assert f"* {student.name} (the student)" in card
    assert str(tmp_path) not in card


def test_a_whole_student_that_does_not_say_its_origin_needs_to_be_told(tmp_path, student, whole):
    (whole / "metrics.json").unlink()
    with pytest.raises(MergeRefusedError, match="pass --student"):
        merge(whole, tmp_path / "merged")
    merge(whole, tmp_path / "merged", student=str(student))


def test_an_adapter_of_another_student_is_refused(tmp_path, adapter):
    other = tmp_path / "other"
    save_student(other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "hidden_size": 64, "head_dim": 8}))
    with pytest.raises(MergeRefusedError):
        merge(adapter, tmp_path / "merged", student=str(other))
    assert not (tmp_path / "merged").exists()


def test_logits_that_differ_are_refused_and_leave_nothing(tmp_path, adapter):
    with pytest.raises(MergeRefusedError, match="logits differ"):
        merge(adapter, tmp_path / "merged", tolerance=0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "student"]


def test_a_folder_with_files_is_not_touched(tmp_path, adapter):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "mine").write_text("mine")
    with pytest.raises(MergeRefusedError, match="already there"):
        merge(adapter, tmp_path / "merged")
    assert [path.name for path in (tmp_path / "merged").iterdir()] == ["mine"]


def test_the_card_counts_and_names_terms_but_no_folders(tmp_path, student, adapter):
    text = (merge(adapter, tmp_path / "merged").folder / "README.md").read_text()
    assert str(tmp_path) not in text
    assert text.startswith("---\nlicense: other\n")
    for line in (
        "| error | 2 |",
        "| accepted at once | 1 |",
        "| openai/some\\|model | 1 |",
        "* embedded/smollm2 (a teacher): Apache-2.0",
        "* openai/some|model (a teacher): see the provider's terms",
        "* embedded/mine-f16.gguf (a teacher): see the provider's terms",
        f"* {student.name} (the student): see the provider's terms",
        "| beta | 0.1 |",
        "| pair accuracy | 0.5 | 1 |",
        "| KL to the teacher, nats per token | – | 0.25 |",  # noqa: RUF001
    ):
        assert line in text.splitlines()


def test_who_gave_soft_labels_is_told_and_its_licence_counts():
    data = {"rows": 2, "by_teacher": {"embedded/smollm2": 2}, "by_labeller": {"embedded/smollm2": 1}}
    assert "license: apache-2.0" in write_card(Card("m", "smollm2", {"data": data}, 0.0, END))
    data["by_labeller"] = {"embedded/gemma.gguf": 2}
    card = write_card(Card("m", "smollm2", {"data": data}, 0.0, END))
    assert "license: other" in card
    assert "| soft labels by | rows |\n|---|---|\n| embedded/gemma.gguf | 2 |" in card
    assert "* embedded/gemma.gguf (gave soft labels): see the provider's terms" in card


def test_the_card_is_apache_only_where_student_and_teachers_are():
    data = {"rows": 1, "by_teacher": {"embedded/smollm2": 1}}
    assert "license: apache-2.0" in write_card(Card("m", "smollm2", {"data": data}, 0.0, END))
    assert "license: other" in write_card(Card("m", "smollm2", {}, 0.0, END))


CONVERTER = """
import pathlib, sys
folder, _, file, *_ = sys.argv[1:]
assert (pathlib.Path(folder) / "model.safetensors").is_file()
pathlib.Path(file).write_bytes(b"GGUF")
"""


def test_llama_cpps_converter_makes_a_gguf_beside_it(tmp_path, adapter):
    (tmp_path / gguf_file.SCRIPT).write_text(CONVERTER)
    merged = merge(adapter, tmp_path / "merged", gguf=Wish(converter=find_converter(tmp_path)))
    assert merged.gguf == tmp_path / "merged" / "merged-f16.gguf"
    assert merged.gguf.read_bytes() == b"GGUF"
    assert "`merged-f16.gguf`" in (merged.folder / "README.md").read_text()


def test_a_converter_that_fails_leaves_nothing(tmp_path, adapter):
    (tmp_path / gguf_file.SCRIPT).write_text("raise SystemExit('an unknown architecture')")
    with pytest.raises(ConversionError, match="an unknown architecture"):
        merge(adapter, tmp_path / "merged", gguf=Wish(converter=find_converter(tmp_path)))
    assert not (tmp_path / "merged").exists()
    with pytest.raises(ConversionError, match="give the folder of a llama"):
        find_converter(adapter)


def run(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dorpo", "merge", *map(str, arguments)]
    environment = {**os.environ, "PRECISION_SHAKING_HOME": str(tmp_path / "home"), "PATH": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def test_the_command_says_where_it_is_and_how_to_get_a_gguf(tmp_path, adapter):
    output = tmp_path / "merged"
    result = run(tmp_path, "--adapter", adapter, "--output", output)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{output}\n"
    first, second = result.stderr.splitlines()
    assert first.startswith("No logit differs by more than ")
    assert second.endswith(f"{gguf_file.SCRIPT} {output} --outfile {output}/merged-f16.gguf --outtype f16")


def test_the_command_refuses_in_one_sentence(tmp_path):
    result = run(tmp_path, "--adapter", tmp_path, "--output", tmp_path / "merged")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("There is no adapter in ")
    assert len(result.stderr.splitlines()) == 1
