"""Whether a training goes on from a checkpoint, decided before anything heavy is loaded."""

from __future__ import annotations

from typing import Any

from dorpo.training import checkpoints
from dorpo.training.checkpoints import Checkpoint
from dorpo.training.request import LEARNING, TrainingRefusedError, TrainingRequest

# What decides what a step does. Where files lie, how often they are written and on which machine does not.
_SETTINGS = (
    *("student", "max_steps", "epochs", "groups_per_step", "max_length", "holdout", "seed", "split_seed"),
    *LEARNING,
)


def identity(request: TrainingRequest, fingerprint: str) -> dict[str, Any]:
    """What two trainings must share for one to go on where the other stopped; JSON."""
    return {"dataset": fingerprint, **{name: getattr(request, name) for name in _SETTINGS}}


def starting_point(request: TrainingRequest, fingerprint: str) -> Checkpoint | None:
    """The checkpoint to go on from; None for a training that begins.

    Raises:
        TrainingRefusedError: There is one that would be lost, or that belongs to another training.
    """
    checkpoints.sweep(request.output)
    found = checkpoints.latest(request.output)
    if found is None:
        return None
    if not request.resume:
        if request.save_steps is None:
            return None
        raise TrainingRefusedError(
            f"The folder {request.output} holds checkpoints of an earlier training: pass --resume to go on "
            "with it, or choose another folder."
        )
    known = identity(request, fingerprint)
    changed = sorted(_spoken(name) for name in known if found.about.get(name) != known[name])
    if changed:
        raise TrainingRefusedError(
            f"The training in {request.output} cannot go on, because it had another {', '.join(changed)}: "
            "put that back, or choose another folder."
        )
    return found


def _spoken(name: str) -> str:
    """A setting as the user typed it; the dataset's fingerprint is of its rows, wherever the file lies."""
    return "dataset" if name == "dataset" else f"--{name.replace('_', '-')}"
