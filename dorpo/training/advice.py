"""What a user is told about memory before the first step, and what would help where there is too little."""

from __future__ import annotations

from dorpo.low_memory import Fit
from dorpo.training.request import TrainingRequest


def advice(fit: Fit, request: TrainingRequest, device: str) -> str:
    """One sentence; "" where everything fits as it was asked for."""
    if fit.fits:
        return f"{fit.reason}." if fit.reason else ""
    helping = ["a smaller --max-length", "a smaller --student"]
    if request.full:
        helping.append("adapters instead of --full")
    elif device == "cuda" and not request.qlora:
        helping.append("--qlora")
    # Computing activations again and low memory do not go together.
    if not fit.low_memory and not request.gradient_checkpointing and fit.obstacle:
        helping.append("--gradient-checkpointing")
    if request.low_memory is False:
        helping.insert(0, "leaving --no-low-memory out")
    *most, last = helping
    return f"{fit.reason}: {', '.join(most)} or {last} helps."
