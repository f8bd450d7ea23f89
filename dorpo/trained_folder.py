"""What a training leaves in its folder: an adapter, or with `--full` a whole student."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_WHOLE = "config.json"


class NothingTrainedError(Exception):
    """No training wrote this folder; the message says what is missing, in one sentence."""


def holds_whole_student(folder: Path) -> bool:
    """Whether it is a student with weights of its own, rather than an adapter for one.

    Raises:
        NothingTrainedError: It is neither.
    """
    missing = [name for name in _ADAPTER if not (folder / name).is_file()]
    if not missing:
        return False
    if missing[0] == _ADAPTER[0] and (folder / _WHOLE).is_file():
        return True
    raise NothingTrainedError(
        f"There is no adapter in {folder} ({missing[0]} is missing) and no whole student: give a folder that "
        "a training wrote."
    )


def remove_adapter(folder: Path) -> None:
    """Take an earlier training's adapter away: whoever opens the folder would put it before the weights."""
    for name in _ADAPTER:
        (folder / name).unlink(missing_ok=True)


def read_metrics(folder: Path) -> dict[str, Any]:
    """The training's own record, `metrics.json`; empty when there is none.

    Raises:
        ValueError: It is not what a training writes.
        OSError: It cannot be read.
    """
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(metrics, dict):
        raise ValueError("It holds no JSON object.")
    return metrics
