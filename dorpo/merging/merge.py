"""A student with its adapter merged into the weights: one folder that everything can load.

The folder is written beside its place, loaded again, compared with the student under its adapter, and only
then given its name.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from peft import PeftModel
from transformers import AutoModelForCausalLM

from dorpo.merging import gguf_file
from dorpo.merging.model_card import Card, read_metrics, write_card
from dorpo.rendering import render_prompt, to_messages
from dorpo.student import Student, StudentError, load_student
from dorpo.tokens import StudentTokens

# Merging rounds once more in float32; a wrong base or a lost layer is off by whole nats.
TOLERANCE = 1e-3
_PROBES = (
    ("Print the sum of the list.", "numbers = [1, 2, 3]\n"),
    ("Read the file names from the command line.", "import sys\n\nprint(open('a.txt').read())\n"),
    ("Say what it does.", ""),
)


class MergeRefusedError(Exception):
    """Nothing was merged; the message says why and what to do, in one sentence."""


@frozen
class Merged:
    """What was made.

    Attributes:
        folder: The model.
        difference: Largest difference of a logit between adapter and merged model.
        gguf: The GGUF file inside; None without one.
    """

    folder: Path
    difference: float
    gguf: Path | None


def merge(
    adapter: Path,
    output: Path,
    *,
    student: str | None = None,
    converter: Path | None = None,
    tolerance: float = TOLERANCE,
    allow_download: bool = False,
) -> Merged:
    """Merge an adapter into its student, in float32.

    Args:
        adapter: The output folder of a training.
        output: A folder that is not there yet, or empty.
        student: What the adapter was trained on; None for what its folder says.
        converter: llama.cpp's script, for a GGUF file as well.
        tolerance: Largest difference of a logit that is still the same model.
        allow_download: Whether the student may be fetched from the hub.

    Raises:
        MergeRefusedError: Adapter, student or output do not allow it, or the logits differ.
        ConversionError: There is no GGUF file, and nothing else either.
    """
    _check(adapter, output)
    name = student or _student_of(adapter)
    try:
        base = load_student(name, lora=None, allow_download=allow_download)
    except StudentError as error:
        raise MergeRefusedError(str(error)) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        difference = _write(base, adapter, scratch)
        if not difference <= tolerance:
            raise MergeRefusedError(
                f"The merged student's logits differ from the adapter's by {difference:.2g}, more than "
                f"{tolerance:g}: check that the adapter was trained on {name}."
            )
        gguf = _convert(converter, scratch, output.name)
        card = _card(output.name, name, read_metrics(adapter), difference, base.tokens, gguf)
        (scratch / "README.md").write_text(write_card(card), encoding="utf-8")
        scratch.chmod(0o755)  # temporary folders are private
        if output.is_dir():
            output.rmdir()
        scratch.rename(output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Merged(output, difference, output / gguf if gguf else None)


def _check(adapter: Path, output: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise MergeRefusedError(
                f"There is no adapter in {adapter} ({name} is missing): give the output folder of a training."
            )
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise MergeRefusedError(f"{output} is already there: choose another folder.")


def _student_of(adapter: Path) -> str:
    """By the training's record; adapters from elsewhere name their base themselves."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    name = read_metrics(adapter).get("student") or config.get("base_model_name_or_path")
    if not isinstance(name, str):
        raise MergeRefusedError(f"The adapter in {adapter} does not say its student: pass --student.")
    return name


def _write(base: Student, adapter: Path, folder: Path) -> float:
    """Write the merged student; returns by how much it differs once it is loaded again."""
    prompts = [
        base.tokens.prompt(to_messages(render_prompt(instruction, script))) for instruction, script in _PROBES
    ]
    try:
        adapted: Any = PeftModel.from_pretrained(base.model, adapter)
    except Exception as error:  # a foreign adapter fails in every library's own way
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MergeRefusedError(f"The adapter in {adapter} does not fit {base.name}: {first}") from error
    expected = _logits(adapted, prompts)
    merged = adapted.merge_and_unload()
    _end_answers(merged, base.tokens)
    merged.save_pretrained(folder)
    base.tokens.tokenizer.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    found = _logits(again, prompts)
    return max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))


def _end_answers(model: Any, tokens: StudentTokens) -> None:
    """Whoever generates with it stops where the chat template ends an answer."""
    model.generation_config.eos_token_id = model.config.eos_token_id = tokens.end_of_turn
    model.config.use_cache = True
    tokens.tokenizer.eos_token = tokens.tokenizer.convert_ids_to_tokens(tokens.end_of_turn)


@torch.no_grad()
def _logits(model: Any, prompts: list[list[int]]) -> list[torch.Tensor]:
    model.eval()
    return [model(torch.tensor([ids]), use_cache=False).logits[0].float() for ids in prompts]


def _convert(converter: Path | None, folder: Path, name: str) -> str | None:
    if converter is None:
        return None
    file = gguf_file.name_in(name)
    gguf_file.convert(converter, folder, folder / file)
    return file


def _card(
    name: str,
    student: str,
    metrics: dict[str, Any],
    difference: float,
    tokens: StudentTokens,
    gguf: str | None,
) -> Card:
    end: str = tokens.tokenizer.convert_ids_to_tokens(tokens.end_of_turn)
    return Card(name, student, metrics, difference, end, gguf)
