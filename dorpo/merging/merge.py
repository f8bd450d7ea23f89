"""A trained student as one folder that everything can load, an adapter merged into its weights.

The folder is written beside its place, loaded again, compared with what the training left, and only then
given its name.
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

from dorpo.merging.gguf_file import Wish
from dorpo.merging.gguf_making import make
from dorpo.merging.model_card import Card, write_card
from dorpo.merging.probing import largest_difference, logits, probes
from dorpo.student import Student, StudentError, gguf_source, load_student
from dorpo.tokens import StudentTokens
from dorpo.trained_folder import NothingTrainedError, holds_whole_student, read_metrics

# Merging rounds once more in float32; a wrong base or a lost layer is off by whole nats.
TOLERANCE = 1e-3


class MergeRefusedError(Exception):
    """Nothing was merged; the message says why and what to do, in one sentence."""


@frozen
class Merged:
    """What was made.

    Attributes:
        folder: The model.
        difference: Largest difference of a logit between what was trained and this model.
        gguf: The GGUF file inside; None without one.
        gguf_difference: The same between merged model and GGUF file; None where nobody looked.
    """

    folder: Path
    difference: float
    gguf: Path | None = None
    gguf_difference: float | None = None


def merge(
    trained: Path,
    output: Path,
    *,
    student: str | None = None,
    gguf: Wish | None = None,
    tolerance: float = TOLERANCE,
    allow_download: bool = False,
) -> Merged:
    """Merge an adapter into its student, in float32; a student trained whole only needs what goes with it.

    Args:
        trained: The output folder of a training.
        output: A folder that is not there yet, or empty.
        student: What the training began with; None for what its folder says.
        gguf: What GGUF file is wanted beside it, where there is a way to make one; None for none.
        tolerance: Largest difference of a logit that is still the same model.
        allow_download: Whether the student may be fetched from the hub.

    Raises:
        MergeRefusedError: Folder, student or output do not allow it, or the logits differ.
        ConversionError: There is no such GGUF file, and nothing else either.
    """
    full = _check(trained, output)
    metrics = _metrics(trained)
    name = student or _student_of(trained, metrics, full=full)
    try:
        base = load_student(str(trained) if full else name, lora=None, allow_download=allow_download)
    except StudentError as error:
        raise MergeRefusedError(str(error)) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        difference = _write(base.tokens, base.model if full else _with_adapter(base, trained), scratch)
        if not difference <= tolerance:
            raise MergeRefusedError(
                f"The merged student's logits differ from those in {trained} by {difference:.2g}, more than "
                f"{tolerance:g}: check that it was trained from {name}."
            )
        made = None
        if gguf is not None:
            made = make(scratch, gguf_source(name), gguf, probes(base.tokens), name=output.name)
        end: str = base.tokens.tokenizer.convert_ids_to_tokens(base.tokens.end_of_turn)
        card = Card(output.name, name, metrics, difference, end, made.name if made else None, full)
        (scratch / "README.md").write_text(write_card(card), encoding="utf-8")
        scratch.chmod(0o755)  # temporary folders are private
        if output.is_dir():
            output.rmdir()
        scratch.rename(output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if made is None:
        return Merged(output, difference)
    return Merged(output, difference, output / made.name, made.difference)


def _check(trained: Path, output: Path) -> bool:
    """Whether a whole student was trained; refuses what cannot be done."""
    try:
        full = holds_whole_student(trained)
    except NothingTrainedError as error:
        raise MergeRefusedError(str(error)) from error
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise MergeRefusedError(f"{output} is already there: choose another folder.")
    return full


def _metrics(trained: Path) -> dict[str, Any]:
    """The training's own record; a broken one is no reason not to take the model along."""
    try:
        return read_metrics(trained)
    except (OSError, ValueError):
        return {}


def _student_of(trained: Path, metrics: dict[str, Any], *, full: bool) -> str:
    """By the training's record; adapters from elsewhere name their base themselves."""
    name = metrics.get("student")
    if name is None and not full:
        config = json.loads((trained / "adapter_config.json").read_text(encoding="utf-8"))
        name = config.get("base_model_name_or_path")
    if not isinstance(name, str):
        raise MergeRefusedError(f"The folder {trained} does not say its student: pass --student.")
    return name


def _with_adapter(base: Student, adapter: Path) -> Any:
    try:
        return PeftModel.from_pretrained(base.model, adapter)
    except Exception as error:  # a foreign adapter fails in every library's own way
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MergeRefusedError(f"The adapter in {adapter} does not fit {base.name}: {first}") from error


def _write(tokens: StudentTokens, trained: Any, folder: Path) -> float:
    """Write a student, an adapter merged in; returns by how much it differs once it is loaded again."""
    prompts = probes(tokens)
    expected = logits(trained, prompts)
    merged = trained.merge_and_unload() if isinstance(trained, PeftModel) else trained
    _end_answers(merged, tokens)
    merged.save_pretrained(folder)
    tokens.tokenizer.save_pretrained(folder)
    again = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    return largest_difference(expected, logits(again, prompts))


def _end_answers(model: Any, tokens: StudentTokens) -> None:
    """Whoever generates with it stops where the chat template ends an answer."""
    model.generation_config.eos_token_id = model.config.eos_token_id = tokens.end_of_turn
    model.config.use_cache = True
    tokens.tokenizer.eos_token = tokens.tokenizer.convert_ids_to_tokens(tokens.end_of_turn)
