"""What listens to the Trainer: progress for the user, and the wish to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dorpo import processes
from dorpo.training.cancellation import Cancellation
from dorpo.training.events import TrainingProgress


class StopWhenAsked(TrainerCallback):
    """Ends the training after the running micro-batch, or with several processes after the running step."""

    def __init__(self, cancellation: Cancellation) -> None:
        """Listen to this wish."""
        self._cancellation = cancellation

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Between optimizer steps, where all processes stop as soon as one is asked to."""
        asked = any(processes.gathered(self._cancellation.requested))
        control.should_training_stop = control.should_training_stop or asked

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Between the micro-batches of a step, whose gradients are then dropped."""
        asked = processes.count() == 1 and self._cancellation.requested
        control.should_training_stop = control.should_training_stop or asked


class ReportProgress(TrainerCallback):
    """Tells every optimizer step, with an estimate of the time that is left."""

    def __init__(self, report: Callable[[TrainingProgress], None], seconds_after: float) -> None:
        """Report to a function; `seconds_after` is what follows the last step."""
        self._report = report
        self._after = seconds_after
        self._begun = 0.0
        self._first = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; a resumed training does not begin at 0."""
        self._begun, self._first = time.monotonic(), state.global_step

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Turn the Trainer's numbers into an event; its summary at the end is none."""
        if logs is None or "loss" not in logs or "kd_loss" not in logs:
            return
        done = max(state.global_step - self._first, 1)
        left = state.max_steps - state.global_step
        self._report(
            TrainingProgress(
                step=state.global_step,
                steps=state.max_steps,
                loss=logs["loss"],
                kl=logs.get("kl"),
                kd_loss=logs["kd_loss"],
                nll=logs["nll"],
                or_loss=logs.get("or_loss"),
                pair_accuracy=logs.get("rewards/accuracies"),
                learning_rate=logs.get("learning_rate", 0.0),
                grad_norm=logs.get("grad_norm"),
                eta_seconds=(time.monotonic() - self._begun) / done * left + self._after,
            )
        )
