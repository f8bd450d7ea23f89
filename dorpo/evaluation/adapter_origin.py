"""What an adapter's folder says about how it came to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import field, frozen

from dorpo.training.request import TrainingRefusedError

_FILES = ("adapter_config.json", "adapter_model.safetensors")


@frozen(kw_only=True)
class Origin:
    """The training behind an adapter, as far as its `metrics.json` tells.

    Attributes:
        student: Name of the student it was trained on.
        fingerprint: Of the rows.
        steps: Optimizer steps it took.
        settings: Of the training, named like the fields of `TrainingRequest`.
        held_out: Sessions it did not see, perhaps none; None when that was not written down.
        trained: Sessions it saw; None when that was not written down.
    """

    student: str | None = None
    fingerprint: str | None = None
    steps: int | None = None
    settings: dict[str, Any] = field(factory=dict)
    held_out: frozenset[str] | None = None
    trained: frozenset[str] | None = None


def read_origin(folder: Path) -> Origin:
    """Look into an adapter's folder.

    Raises:
        TrainingRefusedError: It holds no adapter, or its `metrics.json` is broken.
    """
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise TrainingRefusedError(
            f"There is no adapter in {folder} ({missing[0]} is missing): give a folder that a training wrote."
        )
    try:
        told = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        return Origin(
            student=told.get("student"),
            fingerprint=told.get("dataset_sha256"),
            steps=told.get("last_step"),
            settings=dict(told.get("settings") or {}),
            held_out=_sessions(told.get("held_out_sessions")),
            trained=_sessions(told.get("trained_sessions")),
        )
    except FileNotFoundError:
        return Origin()
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise TrainingRefusedError(
            f"The file {folder / 'metrics.json'} cannot be read: remove it, or train the adapter again."
        ) from error


def _sessions(told: list[str] | None) -> frozenset[str] | None:
    return None if told is None else frozenset(told)
