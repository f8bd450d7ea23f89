"""What a training is asked for, and the checks that refuse it before anything heavy is loaded."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

from dorpo.checks import check
from dorpo.store import Row, Store, StoreError

# What of a request the objective and its optimizer are told, by the same names as in `DORPOConfig`.
LEARNING = (
    *("beta", "kd_alpha", "learning_rate", "top_k", "chunk_kd", "or_soft_label", "or_label_noise"),
    *("or_teacher_weight", "or_tokens", "group_weight", "full", "qlora", "lora_rank", "lora_alpha"),
)


class TrainingRefusedError(Exception):
    """A training cannot start; the message says why and what to do, in one sentence."""


@frozen(kw_only=True)
class TrainingRequest:
    """Everything the user can choose.

    Attributes:
        db: The dataset.
        student: See `dorpo.student`.
        output: Folder for the adapter.
        max_steps: Optimizer steps; None for whole epochs.
        epochs: Passes over the rows when `max_steps` is None.
        beta: λ, the weight of the odds-ratio term.
        kd_alpha: Share of the KL in the first term of the loss.
        top_k: Alternatives of the teacher for every token.
        chunk_kd: How chunks of tokens are learned; this and what follows as in `DORPOConfig`.
        or_soft_label: How sure a pair is.
        or_label_noise: Share of wrong labels by reason, where it is not the default.
        or_teacher_weight: How much the teacher leans.
        or_tokens: What the odds ratio compares.
        group_weight: What counts the same.
        full: Whether to train every weight instead of adapters.
        qlora: Whether to hold the model below the adapters in four bits.
        lora_rank: Of the adapters.
        lora_alpha: Their scale is alpha / rank.
        learning_rate: Peak of the schedule.
        groups_per_step: Groups in one optimizer step; None chooses by the number of groups.
        max_length: Longest prompt with response, in tokens; None for what the student can read.
        min_rows: Fewer rows are refused.
        holdout: Share of the sessions kept for the evaluation, once there are enough of them.
        seed: Of the data order and the adapters.
        split_seed: Of the choice of the sessions kept for the evaluation; None takes `seed`.
        device: auto, cpu, cuda or mps.
        gradient_checkpointing: Whether activations are computed again on the way back.
        bf16: Whether to compute in bfloat16; None where the device is CUDA and can.
        report_to: A program that the metrics are also written for, or "none".
        low_memory: Whether to compute more and keep the activations of part of a text; None where it would
            not fit into memory otherwise.
        allow_download: Whether a student may be fetched from the hub.
        save_steps: Optimizer steps between two checkpoints; None writes none.
        resume: Whether to go on from the output folder's last checkpoint, if there is one.
    """

    db: Path
    student: str
    output: Path
    max_steps: int | None = None
    epochs: float = 1.0
    beta: float = 0.1
    kd_alpha: float = 1.0
    top_k: int = 20
    chunk_kd: str = "binary"
    or_soft_label: str = "none"
    or_label_noise: Mapping[str, float] = field(factory=dict)
    or_teacher_weight: float = 0.25
    or_tokens: str = "all"
    group_weight: str = "row"
    full: bool = False
    qlora: bool = False
    lora_rank: int = 16
    lora_alpha: int = 32
    learning_rate: float = 5e-4
    groups_per_step: int | None = None
    max_length: int | None = None
    min_rows: int = 1
    holdout: float = 0.1
    seed: int = 0
    split_seed: int | None = None
    device: str = "auto"
    gradient_checkpointing: bool = False
    bf16: bool | None = None
    report_to: str = "none"
    low_memory: bool | None = None
    allow_download: bool = False
    save_steps: int | None = None
    resume: bool = False


@frozen
class Snapshot:
    """The dataset at one moment.

    Attributes:
        rows: The complete rows that are fit to learn from, see `dorpo.checks`.
        fingerprint: Of all complete rows.
        dropped: How many of these are not fit, by the reason.
    """

    rows: list[Row]
    fingerprint: str
    dropped: Mapping[str, int] = field(factory=dict)


def read_rows(request: TrainingRequest) -> Snapshot:
    """The rows to learn from, without those that teach nothing or hold credentials.

    Raises:
        TrainingRefusedError: There is no dataset, or it has too few rows.
    """
    try:
        with Store.open(request.db, create=False) as store:
            rows, fingerprint = store.snapshot()
    except StoreError as error:
        raise TrainingRefusedError(str(error)) from error
    if not rows:
        raise TrainingRefusedError(
            f"The dataset {request.db} has no complete rows yet: accept at least one step of a session first."
        )
    checked = check(rows)
    if len(checked.rows) < request.min_rows:
        usable = "1 row" if len(checked.rows) == 1 else f"{len(checked.rows)} rows"
        others = ", ".join(f"{count} {flaw}" for flaw, count in checked.dropped.items())
        without = f" to learn from (and {others})" if others else ""
        raise TrainingRefusedError(
            f"The dataset has only {usable}{without}, and a training needs {request.min_rows}: "
            "accept more steps, or lower --min-rows."
        )
    return Snapshot(checked.rows, fingerprint, checked.dropped)


def check_reporter(name: str) -> None:
    """See that the program is there for which metrics are written.

    Raises:
        TrainingRefusedError: It is not installed.
    """
    if name != "none" and importlib.util.find_spec(name) is None:
        raise TrainingRefusedError(
            f"The package {name} is missing: run pip install {name}, or leave --report-to out."
        )


def prepare_output(folder: Path) -> None:
    """Make the output folder and see that files can be written to it.

    Raises:
        TrainingRefusedError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise TrainingRefusedError(
            f"The output folder {folder} cannot be written ({reason}): choose another one."
        ) from error
