"""Students of every origin, and what is said about those that do not work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_student import byte_tokenizer, llama, save_student

from dorpo.encoding import encode_rows
from dorpo.evaluation.figures import summarize
from dorpo.evaluation.measuring import measure
from dorpo.store import Store
from dorpo.student import LoraSettings, StudentError, add_adapters, converted, load_student, locate
from dorpo.trainer import DORPOConfig, DORPOTrainer

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def no_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("PRECISION_SHAKING_HOME", str(tmp_path / "home"))


def test_a_folder_is_loaded_with_adapters_on_every_linear_layer_but_the_head(tmp_path):
    student = load_student(str(save_student(tmp_path / "tiny")))
    trainable = {name for name, parameter in student.model.named_parameters() if parameter.requires_grad}
    assert len(trainable) == 2 * 2 * 7
    assert all("lora_" in name for name in trainable)
    assert not any("lm_head" in name for name in trainable)
    assert {p.dtype for p in student.model.parameters()} == {torch.float32}


def test_without_adapters_every_weight_is_trained(tmp_path):
    student = load_student(str(save_student(tmp_path / "tiny")), lora=None)
    assert all(parameter.requires_grad for parameter in student.model.parameters())


def test_a_saved_adapter_gives_the_same_logits(tmp_path):
    from peft import PeftModel

    model = add_adapters(llama(), LoraSettings())
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(llama(), tmp_path / "adapter")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model(ids).logits)
        assert not torch.allclose(model(ids).logits, llama()(ids).logits)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no-such-model", "There is no student no-such-model"),
        ("nowhere/model.gguf", "There is no student"),
        ("/no/such/folder", "There is no student"),
        ("example/not-in-the-cache", "pass --allow-download"),
    ],
)
def test_an_unknown_student_is_refused(name, sentence):
    with pytest.raises(StudentError, match=sentence):
        locate(name)


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(StudentError, match=r"no config\.json"):
        locate(str(tmp_path))


def test_a_damaged_folder_is_refused(tmp_path):
    folder = save_student(tmp_path / "tiny")
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StudentError, match="cannot be loaded"):
        load_student(str(folder))


def test_a_model_that_cannot_chat_is_refused(tmp_path):
    folder = tmp_path / "tiny"
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    llama().save_pretrained(folder)
    with pytest.raises(StudentError, match="no chat template"):
        load_student(str(folder))


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but not really")
    with pytest.raises(StudentError, match="cannot be converted"):
        locate(str(broken))
    assert list((tmp_path / "home" / "students").iterdir()) == []


def test_the_packaged_student_is_converted_once_and_learns(tmp_path, story):
    folder = Path(locate("smollm2"))
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert locate("smollm2") == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == made

    with Store.open(tmp_path / "dataset.db") as store:
        told = story(store)
        told.rejected("error")
        told.accepted(soft=True)
        rows, _ = store.snapshot()
    student = load_student("smollm2")
    groups = encode_rows(rows, student.tokens)
    before = summarize(measure(student.model, groups))
    config = DORPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        warmup_steps=0,
        learning_rate=1e-3,
        use_cpu=True,
        save_strategy="no",
    )
    DORPOTrainer(student.model, config, groups).train()
    after = summarize(measure(student.model, groups))
    assert after.chosen_perplexity < before.chosen_perplexity < 1000


def test_a_conversion_that_somebody_else_finished_is_used(tmp_path):
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"anything")
    from dorpo.student import _fingerprint

    folder = tmp_path / "home" / "students" / f"model-{_fingerprint(gguf)}"
    save_student(folder)
    assert converted(gguf) == folder
