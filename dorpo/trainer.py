"""DORPO on top of transformers' Trainer, which brings checkpoints, resuming, precision and schedules."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from dorpo.batches import Group, collate
from dorpo.forward import bare, token_scores
from dorpo.loss import DORPOLoss, LossOptions, Metric, dorpo_loss
from dorpo.probe import measured_obstacle
from dorpo.reading import WAYS, Reading, Way, choose_reading, obstacle
from dorpo.staged import staged_backward

_log = logging.getLogger(__name__)
_LOW_MEMORY = "low_memory needs prompts shared as keys and values, one device and no float16."


@dataclass
class DORPOConfig(TrainingArguments):
    """Training arguments, with those of DORPO and defaults for training adapters on few, long rows.

    Attributes:
        beta: λ, the weight of the odds-ratio term. Its effect grows with 1 / (1 - P): text that is mostly
            copied, and therefore probable, wants less.
        kd_alpha: Share of the KL in the first term; the rest is the chosen response's negative
            log-likelihood.
        or_logp_max: Mean log-probabilities are held below this in the odds ratio.
        prefix_sharing: How a prompt is read once for all its responses: as keys and values ("kv"), under a
            mask ("tree"), not at all ("off"), or as is exact and fastest for the model ("auto"), see
            `dorpo.reading`.
        low_memory: Hold the activations of one prompt or response at a time, for some more computing; needs
            "kv", one device and no float16.
    """

    beta: float = field(default=0.1, metadata={"help": "Weight of the odds-ratio term (λ)."})
    kd_alpha: float = field(default=1.0, metadata={"help": "Share of the KL in the first term."})
    or_logp_max: float = field(
        default=-1e-6, metadata={"help": "Cap of log-probabilities in the odds ratio."}
    )

    prefix_sharing: str = field(
        default="auto", metadata={"help": "How a prompt is shared.", "choices": list(WAYS)}
    )
    low_memory: bool = field(default=False, metadata={"help": "Slower, with the memory of one response."})

    learning_rate: float = field(default=1e-4, metadata={"help": "Initial learning rate."})
    lr_scheduler_type: Any = field(default="cosine", metadata={"help": "Schedule of the learning rate."})
    warmup_steps: float = field(default=0.1, metadata={"help": "Steps, or below 1 the share of all steps."})
    per_device_train_batch_size: int = field(default=1, metadata={"help": "Groups at once on a device."})
    per_device_eval_batch_size: int = field(default=1, metadata={"help": "Groups at once on a device."})
    logging_steps: float = field(default=1, metadata={"help": "Report every so many steps."})
    report_to: Any = field(default="none", metadata={"help": "Nothing leaves this machine by itself."})
    disable_tqdm: bool | None = field(default=True, metadata={"help": "Progress is reported by callbacks."})
    # Groups are our own flat tensors, not the model's arguments.
    remove_unused_columns: bool = field(default=False, metadata={"help": "Must stay false."})

    def __post_init__(self) -> None:
        """Check the values that are ours.

        Raises:
            ValueError: One of them makes no sense.
        """
        if self.beta < 0:
            raise ValueError(f"beta must not be negative, it is {self.beta}.")
        if not 0 <= self.kd_alpha <= 1:
            raise ValueError(f"kd_alpha must be between 0 and 1, it is {self.kd_alpha}.")
        if self.or_logp_max >= 0:
            raise ValueError(f"or_logp_max must be below 0, it is {self.or_logp_max}.")
        super().__post_init__()  # type: ignore[no-untyped-call]  # of transformers

    @property
    def loss_options(self) -> LossOptions:
        """The part of the arguments that the objective needs."""
        return LossOptions(self.beta, self.kd_alpha, self.or_logp_max)


class DORPOTrainer(Trainer):
    """Trains a student on groups of one chosen and any number of rejected responses.

    The loss of an optimizer step is divided by the weight of all its groups, so it does not depend on how
    they are spread over micro-batches.
    """

    args: DORPOConfig
    # `compute_loss` divides by the whole step's weight itself.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module,
        args: DORPOConfig,
        train_dataset: Sequence[Group],
        eval_dataset: Sequence[Group] | None = None,
        **others: Any,
    ) -> None:
        """Take the groups as datasets; everything else is the Trainer's."""
        super().__init__(
            model=model,
            args=args,
            data_collator=collate,  # type: ignore[arg-type]  # a TypedDict is a dict
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            **others,
        )
        self._means: dict[str, dict[str, Metric]] = {"train": {}, "eval": {}}
        self.reading = self._choose_reading()
        self._held = False

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """The micro-batches of one optimizer step, and the weight of all their groups on all devices."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not samples:
            return samples, None
        weight = torch.stack([batch["group_weight"].sum() for batch in samples]).sum().to(device)
        return samples, self.accelerator.gather(weight).sum()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The batch's part of the step's loss; `num_items_in_batch` is the step's weight."""
        total = None if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        # Only the model in half precision, if that was asked for: the objective is float32.
        with self.accelerator.autocast():
            student = self.accelerator.unwrap_model(model)
            kl, logps = token_scores(student, inputs, way=self.reading.way)
        result = dorpo_loss(kl, logps, inputs, self.args.loss_options, total_weight=total)
        self._remember(result, "train" if model.training else "eval")
        # Gradients are averaged over devices, while the step's weight is the sum over them.
        loss = result.loss * self.accelerator.num_processes if total is not None else result.loss
        return (loss, {}) if return_outputs else loss

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward pass of one batch: response by response where that is possible."""
        self._hold_reading()
        if not self._can_stage():
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        batch: Any = self._prepare_inputs(inputs)
        total = None if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        student = bare(self.accelerator.unwrap_model(model))
        with self.accelerator.autocast():
            result = staged_backward(
                student,
                batch,
                self.args.loss_options,
                total_weight=total,
                low_memory=self.args.low_memory,
            )
        self._remember(result, "train")
        return result.loss.detach()

    def prediction_step(
        self,
        model: nn.Module,
        inputs: Any,
        prediction_loss_only: bool,  # noqa: ARG002 - the Trainer's signature
        ignore_keys: list[str] | None = None,  # noqa: ARG002
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The loss alone: logits of whole vocabularies would fill the memory."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means since the last report to what the Trainer reports."""
        during = "eval" if any(name.startswith("eval_") for name in logs) else "train"
        prefix = "eval_" if during == "eval" else ""
        for name, metric in self._means[during].items():
            if (count := metric.count.item()) > 0:
                logs[prefix + name] = metric.total.item() / count
        self._means[during] = {}
        super().log(logs, start_time)

    def _choose_reading(self) -> Reading:
        student, args = bare(self.model), self.args
        checkpointing = bool(args.activation_checkpointing or student.is_activation_checkpointing)
        wanted = "kv" if args.low_memory and args.prefix_sharing == "auto" else args.prefix_sharing
        try:
            reading = choose_reading(
                student,
                args.device,
                wanted=wanted,
                checkpointing=checkpointing,
                measured=lambda way: measured_obstacle(student, way),
            )
        except ValueError as error:
            if args.low_memory:
                raise ValueError(f"{_LOW_MEMORY} ({error})") from error
            raise
        if args.low_memory and not self._can_stage(reading):
            raise ValueError(_LOW_MEMORY)
        _log.info(" ".join([reading.reason, *reading.notes]))
        return reading

    def _hold_reading(self) -> None:
        """Before the first step, see that the model is still what the reading was chosen for."""
        if self._held:
            return
        student = bare(self.model)
        checkpointing = bool(student.is_activation_checkpointing)
        way = self.reading.way
        if against := obstacle(student, way, self.args.device, checkpointing=checkpointing):
            raise ValueError(f"The model was changed after the trainer took it, and now {against}.")
        self._held = True

    def _can_stage(self, reading: Reading | None = None) -> bool:
        """Staged gradients bypass the wrappers that scale them or gather them from other devices."""
        alone = self.accelerator.num_processes == 1 and not self.args.fp16
        return alone and (reading or self.reading).way is Way.KV

    def _remember(self, result: DORPOLoss, during: str) -> None:
        means = self._means[during]
        for name, metric in result.metrics.items():
            before = means.get(name)
            means[name] = metric if before is None else before.plus(metric)
