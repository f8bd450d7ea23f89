"""What a training will do and about how long it will take, decided before its first step."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from typing import Any

import torch
from attrs import frozen

from dorpo.align import hard
from dorpo.batches import Group, collate, to_device
from dorpo.forward import token_scores
from dorpo.training.request import TrainingRefusedError, TrainingRequest

# With fewer sessions than this, keeping some for the evaluation would leave too little to learn from.
_SESSIONS_TO_HOLD_OUT = 10
# A backward pass costs about twice the forward pass it belongs to.
_STEP_PER_FORWARD = 3.0
_PROBE_TOKENS = 128
_PROBES = 3
_MOST_GROUPS_PER_STEP = 16


@frozen(kw_only=True)
class TrainingPlan:
    """Which groups are for what.

    Attributes:
        trained: Groups to learn from.
        held_out: Groups kept for the evaluation; without any, the training rows are evaluated.
        skipped: Dataset rows the student cannot read whole.
        per_step: Groups in one optimizer step.
        steps: Optimizer steps.
    """

    trained: Sequence[Group]
    held_out: Sequence[Group]
    skipped: int
    per_step: int
    steps: int

    @property
    def measured(self) -> Sequence[Group]:
        """The groups that are evaluated before and after."""
        return self.held_out or self.trained

    @property
    def tokens(self) -> int:
        """Tokens that are read in one pass over the training rows, every prompt once."""
        return sum(group.tokens for group in self.trained)

    def seconds(self, seconds_per_token: float) -> float:
        """Expected duration, from the time of a forward pass."""
        step_tokens = self.tokens / len(self.trained) * self.per_step
        measuring = 2 * sum(group.tokens for group in self.measured)
        return seconds_per_token * (self.steps * step_tokens * _STEP_PER_FORWARD + measuring)


def make_plan(groups: Sequence[Group], request: TrainingRequest, window: int) -> TrainingPlan:
    """Decide what is trained on, and how often.

    Groups that do not fit into the student's window are left out whole: a cut answer would teach it to stop
    in the middle.

    Args:
        groups: All of them.
        request: The user's wishes.
        window: Tokens the student can read.

    Raises:
        TrainingRefusedError: No group fits.
    """
    limit = min(request.max_length or window, window)
    fitting = [group for group in groups if group.longest <= limit]
    if not fitting:
        raise TrainingRefusedError(
            f"Every row is longer than {limit} tokens: choose a student that reads more, "
            "or raise --max-length."
        )
    split_seed = request.seed if request.split_seed is None else request.split_seed
    trained, held_out = hold_out(fitting, request.holdout, split_seed)
    per_step = request.groups_per_step or min(_MOST_GROUPS_PER_STEP, max(1, len(trained) // 8))
    return TrainingPlan(
        trained=trained,
        held_out=held_out,
        skipped=sum(len(group.rows) for group in groups if group.longest > limit),
        per_step=per_step,
        steps=request.max_steps or max(1, math.ceil(len(trained) / per_step * request.epochs)),
    )


def hold_out(groups: Sequence[Group], share: float, seed: int) -> tuple[list[Group], list[Group]]:
    """Split into training and evaluation by session, because the steps of one session resemble each other.

    Returns:
        (training, held out); nothing is held out of fewer than ten sessions.
    """
    sessions = sorted({group.session for group in groups})
    if share <= 0 or len(sessions) < _SESSIONS_TO_HOLD_OUT:
        return list(groups), []
    count = min(max(1, round(len(sessions) * share)), len(sessions) - 1)
    kept = set(random.Random(seed).sample(sessions, count))  # noqa: S311 - a reproducible split, no secret
    return [g for g in groups if g.session not in kept], [g for g in groups if g.session in kept]


def choose_device(wanted: str) -> str:
    """The device to train on.

    Raises:
        TrainingRefusedError: It is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there.get(wanted, False):
        raise TrainingRefusedError(f"This machine has no device {wanted}: leave --device out, or use cpu.")
    return wanted


@torch.no_grad()
def time_forward(model: Any) -> float:
    """Seconds a token of a forward pass: the fastest of a few, as the machine has other work too."""
    probe = Group(prompt=(0,) * _PROBE_TOKENS, chosen=(0,), labels=hard((0,)), rejected=())
    device = next(model.parameters()).device
    batch = to_device(collate([probe]), device)
    seconds = []
    for _ in range(_PROBES):
        begun = time.monotonic()
        # Reading a number waits for the device.
        token_scores(model, batch)[1].sum().item()
        seconds.append(time.monotonic() - begun)
    return min(seconds) / _PROBE_TOKENS
