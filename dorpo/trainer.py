"""DORPO on top of transformers' Trainer, which brings checkpoints, resuming, precision and schedules."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from dorpo import processes
from dorpo.batches import Batch, Group, collate
from dorpo.forward import bare, token_scores
from dorpo.loss import DORPOLoss, LossOptions, Metric, dorpo_loss
from dorpo.packing import deal, micro_batches
from dorpo.probe import measured_obstacle
from dorpo.reading import WAYS, Reading, Way, choose_reading, obstacle
from dorpo.staged import staged_backward

_log = logging.getLogger(__name__)
_LOW_MEMORY = "low_memory needs prompts shared as keys and values, and no float16."
# A row of FlexAttention, which costs what its groups cost; a row under a dense mask costs its square.
_FLEX_TOKENS = 16_384


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
            "kv" and no float16.
        groups_per_step: Groups in an optimizer step over all devices, so that their number changes nothing;
            without it, the batch size of a device x devices x accumulation steps.
        max_tokens_per_batch: The groups of a step are packed into micro-batches of at most so many tokens;
            without it, FlexAttention gets as many as fill a GPU, and every other way the groups that
            `per_device_train_batch_size` says.
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
    groups_per_step: int | None = field(default=None, metadata={"help": "Groups in a step, on all devices."})
    max_tokens_per_batch: int | None = field(default=None, metadata={"help": "Tokens of a micro-batch."})

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
        for name in ("groups_per_step", "max_tokens_per_batch"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, it is {number}.")
        # The Trainer counts steps by what it draws: then one group at a time.
        self.gradient_accumulation_steps = self.groups_per_step or self.gradient_accumulation_steps
        super().__post_init__()  # type: ignore[no-untyped-call]  # of transformers

    @property
    def loss_options(self) -> LossOptions:
        """The part of the arguments that the objective needs."""
        return LossOptions(self.beta, self.kd_alpha, self.or_logp_max)

    @property
    def groups_at_once(self) -> int:
        """Groups that all devices together draw at once."""
        return 1 if self.groups_per_step else self.per_device_train_batch_size * self.world_size


class DORPOTrainer(Trainer):
    """Trains a student on groups of one chosen and any number of rejected responses.

    Every process knows all groups of an optimizer step and computes its share of them. The loss is divided by
    the weight of all, so neither micro-batches nor processes change it.
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
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "DORPO trains with a whole model on every device: start it without FSDP and DeepSpeed."
            )
        self._means: dict[str, dict[str, Metric]] = {"train": {}, "eval": {}}
        self.reading = self._choose_reading()
        self._held = False

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The groups in the order of the seed, the same in every process."""
        loader: DataLoader[Any] = DataLoader(
            self.train_dataset,  # type: ignore[arg-type]  # a sequence is a dataset
            batch_size=self.args.groups_at_once,
            sampler=self._get_train_sampler(),
            collate_fn=list,
            drop_last=self.args.dataloader_drop_last,
        )
        shared: DataLoader[Any] = prepare_data_loader(
            loader,
            num_processes=1,
            process_index=0,
            use_seedable_sampler=True,
            data_seed=self.args.data_seed,
        )
        return shared

    def get_batch_samples(
        self, epoch_iterator: Iterator[list[Group]], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Tensor | None]:
        """This process's part of an optimizer step, and the weight of all its groups in all processes.

        Returns:
            (micro-batches for each of the turns that the Trainer takes before it steps, weight)
        """
        drawn = list(islice(epoch_iterator, num_batches))
        groups = [group for members in drawn for group in members]
        if not groups:
            return [], None
        weight = torch.tensor(float(sum(group.weight for group in groups)), device=device)
        batches = micro_batches(
            groups, self._size, at_once=self.args.per_device_train_batch_size, budget=self._budget
        )
        sizes = [sum(map(self._size, batch)) for batch in batches]
        mine = [collate(batches[index]) for index in sorted(deal(sizes, processes.count())[processes.rank()])]
        return [mine[turn :: len(drawn)] for turn in range(len(drawn))], weight

    @property
    def _budget(self) -> int | None:
        usual = _FLEX_TOKENS if self.reading.way is Way.FLEX else None
        return self.args.max_tokens_per_batch or usual

    def _size(self, group: Group) -> int:
        """Tokens that are read for a group."""
        separate = self.reading.way is Way.SEPARATE
        return group.longest * (len(group.rejected) + 1) if separate else group.tokens

    def floating_point_ops(self, inputs: Any) -> int:
        """Of all micro-batches of a turn."""
        return sum(super(DORPOTrainer, self).floating_point_ops(batch) for batch in inputs)

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
        return (result.loss, {}) if return_outputs else result.loss

    def training_step(
        self, model: nn.Module, inputs: Any, num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Forward and backward pass of the micro-batches of a turn; before a step, of all processes."""
        self._hold_reading()
        go = self._staged_step if self._can_stage() else super().training_step
        loss = torch.zeros((), device=self.args.device)
        for batch in inputs:
            loss += go(model, batch, num_items_in_batch)
        if self.accelerator.sync_gradients:
            processes.sum_gradients(model.parameters())
        # The Trainer reports the mean over processes of what are parts of a sum.
        return loss * processes.count()

    def _staged_step(self, model: nn.Module, inputs: Batch, weight: Tensor | int | None) -> Tensor:
        """The same response by response."""
        model.train()
        batch: Any = self._prepare_inputs(inputs)  # type: ignore[arg-type]  # a TypedDict is a dict
        with self.accelerator.autocast():
            result = staged_backward(
                bare(self.accelerator.unwrap_model(model)),
                batch,
                self.args.loss_options,
                total_weight=None if weight is None else torch.as_tensor(weight),
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
        means = {name: metric.numbers() for name, metric in self._means[during].items()}
        everywhere = processes.gathered(means)
        for name in dict.fromkeys(name for means in everywhere for name in means):
            totals, counts = zip(*(means[name] for means in everywhere if name in means), strict=True)
            if sum(counts):
                logs[prefix + name] = sum(totals) / sum(counts)
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
        """Staged gradients bypass what scales them for float16."""
        return (reading or self.reading).way is Way.KV and not self.args.fp16

    def _remember(self, result: DORPOLoss, during: str) -> None:
        means = self._means[during]
        for name, metric in result.metrics.items():
            before = means.get(name)
            means[name] = metric if before is None else before.plus(metric)
