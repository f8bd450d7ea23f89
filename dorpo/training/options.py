"""The options that trainings share, each declared once: `train` has them for one, `sweep` for many.

An option is named like the field of `dorpo.training.request.TrainingRequest` that it fills.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from dorpo.choices import CHUNK_KDS, COMPARED_TOKENS, GROUP_WEIGHTS, LABEL_NOISE, SOFT_LABELS
from dorpo.training.request import TrainingRequest

_SHARE: dict[str, Any] = {"type": float, "metavar": "SHARE"}
_DEFAULTS = TrainingRequest(db=Path(), student="smollm2", output=Path())


def add_data(parser: argparse.ArgumentParser) -> Any:
    """Which rows are learned from; returns the group."""
    group = parser.add_argument_group("rows")
    _add(group, "db", "the dataset (default: the user's own)", type=Path, metavar="FILE")
    _add(group, "max_length", "leave longer rows out (default: than the student reads)", **_count("TOKENS"))
    _add(
        group,
        "holdout",
        "share of the sessions to evaluate on, once there are ten",
        type=part,
        metavar="SHARE",
    )
    return group


def add_minimum(group: Any) -> None:
    """When there are too few rows for a training."""
    _add(group, "min_rows", "refuse to train on fewer rows", **_count())


def add_student(parser: argparse.ArgumentParser, *, default: str | None = _DEFAULTS.student) -> Any:
    """Which model, and where; returns the group, to which more can be added."""
    group = parser.add_argument_group("student")
    _add(group, "student", "smollm2, a folder, a GGUF file, or a hub model", default=default)
    _add(group, "device", "where it lives", choices=["auto", "cpu", "cuda", "mps"])
    _add(group, "allow_download", "fetch the student from the hub")
    return group


def add_adapters(group: Any) -> None:
    """What of the student is trained."""
    _add(group, "lora_rank", "rank of its adapters", **_count())
    _add(group, "lora_alpha", "their scale is alpha / rank", **_count())
    _add(group, "qlora", "hold the model below them in four bits; CUDA and the extra qlora")


def add_whole(group: Any) -> None:
    """Training the student itself."""
    _add(group, "full", "train every weight instead of adapters; wants --learning-rate 1e-5 or so")


def add_objective(parser: argparse.ArgumentParser, *, one_beta: bool = False) -> None:
    """What is learned; with λ, where there is one."""
    group = parser.add_argument_group("objective", "See docs/dorpo.md for the formulas.")
    if one_beta:
        _add(group, "beta", "weight λ of the odds-ratio term", type=float, metavar="λ")
    _add(group, "kd_alpha", "share of the KL in the first term, the rest is likelihood", **_SHARE)
    _add(group, "top_k", "alternatives of the teacher that are kept for a token", **_count())
    _add(group, "chunk_kd", "how tokens are learned that the teacher cuts otherwise", choices=CHUNK_KDS)
    _add(
        group,
        "or_soft_label",
        "how sure a pair is: certain, by its reason, by the teacher too",
        choices=SOFT_LABELS,
    )
    noise = ", ".join(f"{reason}={share:g}" for reason, share in LABEL_NOISE.items())
    _add(
        group,
        "or_label_noise",
        f"share of wrong labels (default: {noise})",
        type=_noise,
        metavar="REASON=SHARE,…",
    )
    _add(group, "or_teacher_weight", "how much the teacher leans, 0 to 0.5", **_SHARE)
    _add(group, "or_tokens", "compare all tokens, or those that differ", choices=COMPARED_TOKENS)
    _add(group, "group_weight", "what counts the same: every row, or every prompt", choices=GROUP_WEIGHTS)


def add_steps(parser: argparse.ArgumentParser) -> Any:
    """How it is learned; returns the group, to which the number of steps and the seeds can be added."""
    group = parser.add_argument_group("steps")
    _add(group, "learning_rate", "peak of the schedule", type=above_zero, metavar="RATE")
    _add(group, "groups_per_step", "prompts in one step (default: by the rows, up to 16)", **_count())
    return group


def add_memory(parser: argparse.ArgumentParser) -> None:
    """What it may cost."""
    group = parser.add_argument_group("memory and precision")
    _add(
        group,
        "low_memory",
        "somewhat slower, with much less memory (default: where it does not fit otherwise)",
        action=argparse.BooleanOptionalAction,
    )
    _add(group, "gradient_checkpointing", "compute activations again on the way back: slower, less memory")
    _add(
        group,
        "bf16",
        "compute in bfloat16 (default: where CUDA can)",
        action=argparse.BooleanOptionalAction,
    )
    _add(
        group,
        "report_to",
        "a program that also gets the metrics",
        choices=["none", "tensorboard"],
    )


def add_length(group: Any) -> None:
    """How long one training takes, how often it is kept."""
    _add(group, "epochs", "passes over the rows", type=above_zero, metavar="N")
    _add(group, "max_steps", "optimizer steps instead", **_count())
    _add(group, "seed", "of the data order and the adapters", type=int, metavar="N")
    _add(group, "save_steps", "a checkpoint every so many steps", **_count())
    _add(group, "resume", "go on from the last checkpoint, if there is one")


def _add(group: Any, name: str, text: str, **how: Any) -> None:
    """Declare the option of a field; a field that is false becomes a switch."""
    default = how.pop("default", getattr(_DEFAULTS, name))
    if default is False:
        how["action"] = "store_true"
    elif name != "db":
        how["default"] = default
        shown = default not in (None, {}) and "(default" not in text
        text += " (default: %(default)s)" if shown else ""
    group.add_argument(f"--{name.replace('_', '-')}", help=text, **how)


def _count(name: str = "N") -> dict[str, Any]:
    return {"type": positive, "metavar": name}


def _noise(text: str) -> dict[str, float]:
    """Read "reason=share,…"; `dorpo.configuration` knows which there are."""
    try:
        return {reason: float(share) for reason, share in (part.split("=") for part in text.split(","))}
    except ValueError as error:
        raise argparse.ArgumentTypeError("write it as redo=0.1,further_edit=0.2") from error


def positive(text: str) -> int:
    """Read an option's number, for argparse, which makes its own message of the error; so do the others."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, and not {text}")
    return int(text)


def above_zero(text: str) -> float:
    """Read a number above 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be more than 0, and not {text}")
    return number


def part(text: str) -> float:
    """Read a share that leaves something."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1, and not {text}")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a number, and not {text}") from error
