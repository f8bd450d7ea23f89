"""What the folder of a training says about how its adapter, or its whole student, came to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen

from dorpo.trained_folder import NothingTrainedError, holds_whole_student, read_metrics
from dorpo.training.request import TrainingRefusedError


@frozen(kw_only=True)
class Origin:
    """The training behind a folder, as far as its `metrics.json` tells.

    Attributes:
        full: Whether every weight was trained, so that the folder is a student itself.
        student: Name of the student it began with.
        fingerprint: Of the rows.
        steps: Optimizer steps it took.
        settings: Of the training, named like the fields of `TrainingRequest`.
        held_out: Sessions it did not see, perhaps none; None when that was not written down.
        trained: Sessions it saw; None when that was not written down.
    """

    full: bool = False
    student: str | None = None
    fingerprint: str | None = None
    steps: int | None = None
    settings: dict[str, Any] = field(factory=dict)
    held_out: frozenset[str] | None = None
    trained: frozenset[str] | None = None


def read_origin(folder: Path) -> Origin:
    """Look into a training's folder.

    Raises:
        TrainingRefusedError: It holds nothing trained, or its `metrics.json` is broken.
    """
    try:
        full = holds_whole_student(folder)
    except NothingTrainedError as error:
        raise TrainingRefusedError(str(error)) from error
    try:
        told = read_metrics(folder)
        return Origin(
            full=full,
            student=told.get("student"),
            fingerprint=told.get("dataset_sha256"),
            steps=told.get("last_step"),
            settings=dict(told.get("settings") or {}),
            held_out=_sessions(told.get("held_out_sessions")),
            trained=_sessions(told.get("trained_sessions")),
        )
    except (OSError, ValueError, TypeError) as error:
        raise TrainingRefusedError(
            f"The file {folder / 'metrics.json'} cannot be read: remove it, or train again."
        ) from error


def _sessions(told: list[str] | None) -> frozenset[str] | None:
    return None if told is None else frozenset(told)
