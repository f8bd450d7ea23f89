"""What a training is asked for, and the checks that refuse it before anything heavy is loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attrs import evolve, frozen

from dorpo.redaction import redact
from dorpo.store import Row, Store, StoreError


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
        learning_rate: Peak of the schedule.
        groups_per_step: Groups in one optimizer step; None chooses by the number of groups.
        max_length: Longest prompt with response, in tokens; None for what the student can read.
        min_rows: Fewer rows are refused.
        holdout: Share of the sessions kept for the evaluation, once there are enough of them.
        seed: Of the data order and the adapters.
        split_seed: Of the choice of the sessions kept for the evaluation; None takes `seed`.
        device: auto, cpu, cuda or mps.
        low_memory: Whether to compute more and keep the activations of one text at a time.
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
    learning_rate: float = 5e-4
    groups_per_step: int | None = None
    max_length: int | None = None
    min_rows: int = 1
    holdout: float = 0.1
    seed: int = 0
    split_seed: int | None = None
    device: str = "auto"
    low_memory: bool = False
    allow_download: bool = False
    save_steps: int | None = None
    resume: bool = False


def read_rows(request: TrainingRequest) -> tuple[list[Row], str]:
    """The complete rows without credentials, which a model would learn by heart, and their fingerprint.

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
    if len(rows) < request.min_rows:
        count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
        raise TrainingRefusedError(
            f"The dataset has only {count}, and a training needs {request.min_rows}: accept more steps, "
            "or lower --min-rows."
        )
    return [_without_credentials(row) for row in rows], fingerprint


def _without_credentials(row: Row) -> Row:
    """Soft labels follow the text as far as it is the scored one, see `dorpo.align`."""
    rejected = None if row.rejected is None else redact(row.rejected)[0]
    return evolve(row, prompt=redact(row.prompt)[0], chosen=redact(row.chosen)[0], rejected=rejected)


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
