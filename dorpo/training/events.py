"""What a training tells while it runs, as values; a line of `--json` output is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from attrs import field, frozen


@frozen(kw_only=True)
class TrainingStarted:
    """Everything is loaded.

    Attributes:
        run: Name of the training in the dataset.
        found: Complete rows of the dataset.
        dropped: How many of them are left out whole, by the reason, see `dorpo.checks`.
        rows: Those that are trained on.
        prompts: Groups of them with the same prompt and chosen response.
        held_out: Prompts kept for the evaluation, of sessions of their own; 0 when it uses the training rows.
        held_out_rows: Their rows.
        tokens: Tokens the student reads in one pass over the training rows, every prompt once.
        student: As named by the user.
        device: Where it is trained: cpu, cuda or mps.
        steps: Optimizer steps.
        estimate_seconds: How long the whole training may take, from a short timed forward pass.
        estimate_bytes: How much memory it takes beside Python and its libraries, from short texts.
        free_bytes: How much of that the device has left, the student already on it; None where it cannot say.
        low_memory: Whether it goes with low memory, see `dorpo.low_memory`.
        advice: What was done or is to be done because of these numbers, in a sentence; "" for nothing.
    """

    kind: ClassVar[str] = "training_started"
    run: str
    found: int
    dropped: Mapping[str, int]
    rows: int
    prompts: int
    held_out: int
    held_out_rows: int
    tokens: int
    student: str
    device: str
    steps: int
    estimate_seconds: float
    estimate_bytes: int
    free_bytes: int | None
    low_memory: bool
    advice: str


@frozen(kw_only=True)
class TrainingProgress:
    """An optimizer step is done.

    Attributes:
        step: How many are done, of `steps`.
        loss: Mean of the step's rows.
        kl: KL to the teacher in nats per token that it scored, on the step's rows, as `TrainingEvaluated` has
            it; None when it scored none.
        kd_loss: The loss's first term: the same with hard labels where the teacher scored nothing.
        nll: The chosen responses' negative log-likelihood per token.
        or_loss: The odds-ratio loss before λ; None when no row of the step has a rejected response.
        pair_accuracy: Share of pairs with the chosen response more probable; None without pairs.
        eta_seconds: Expected time to the end of the training, its last evaluation included.
    """

    kind: ClassVar[str] = "training_progress"
    step: int
    steps: int
    loss: float
    kl: float | None
    kd_loss: float
    nll: float
    or_loss: float | None
    pair_accuracy: float | None
    learning_rate: float
    grad_norm: float | None
    eta_seconds: float


@frozen(kw_only=True)
class TrainingEvaluated:
    """The student was measured (see `dorpo.evaluation.figures`): `when`, before or after, `on` which rows."""

    kind: ClassVar[str] = "training_evaluated"
    when: str
    on: str
    pair_accuracy: float | None
    chosen_perplexity: float
    kl: float | None


@frozen(kw_only=True)
class TrainingFinished:
    """The adapter is saved; `status` is done or cancelled."""

    kind: ClassVar[str] = "training_finished"
    status: str
    output: str
    seconds: float
    metrics: dict[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class TrainingFailed:
    """Nothing came out; one sentence for the user says why."""

    kind: ClassVar[str] = "training_failed"
    message: str


TrainingEvent = TrainingStarted | TrainingProgress | TrainingEvaluated | TrainingFinished | TrainingFailed


def to_json(event: TrainingEvent) -> dict[str, Any]:
    """The event as a JSON object."""
    return {"kind": event.kind, **attrs.asdict(event)}
