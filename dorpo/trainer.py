"""DORPO on top of transformers' Trainer, which brings checkpoints, resuming, precision and schedules."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.data_loader import prepare_data_loader  # type: ignore[import-untyped]
from peft import PeftConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from dorpo import processes
from dorpo.batches import Batch, Group, collate
from dorpo.configuration import DORPOConfig
from dorpo.forward import bare, token_scores
from dorpo.free_memory import free_for_each
from dorpo.intake import take_evaluated, take_groups, take_model
from dorpo.loss import dorpo_loss
from dorpo.low_memory import Fit, choose, obstacle_to_low_memory
from dorpo.memory import Memory, estimate_at_once, estimate_by_response
from dorpo.packing import deal, largest, micro_batches
from dorpo.probe import measured_obstacle
from dorpo.reading import Reading, Way, choose_reading, obstacle
from dorpo.reporting import Report
from dorpo.staged import staged_backward
from dorpo.tree import attention_of

__all__ = ["DORPOConfig", "DORPOTrainer"]

_log = logging.getLogger(__name__)
_LOW_MEMORY = "low_memory needs prompts shared as keys and values, no dropout and no float16"
# A row of FlexAttention, which costs what its groups cost; a row under a dense mask costs its square.
_FLEX_TOKENS = 16_384


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
        model: nn.Module | str | Path,
        args: DORPOConfig,
        train_dataset: Any,
        eval_dataset: Any = None,
        processing_class: Any = None,
        peft_config: PeftConfig | None = None,
        **others: Any,
    ) -> None:
        """Take what TRL's ORPO trainer takes, by the same names.

        Args:
            model: A model, or the name, folder or GGUF file of one, see `dorpo.intake.take_model`.
            args: The arguments of the training.
            train_dataset: Preference rows as TRL has them, groups, rows of a store, or a store, see
                `dorpo.intake.take_groups`.
            eval_dataset: The same, or several of them by name.
            processing_class: The student's tokenizer.
            peft_config: Adapters to train instead of the model.
            **others: The Trainer's: callbacks, optimizers and so on.

        Raises:
            ValueError: The model cannot be trained so, or the rows are in no known format.
            dorpo.student.StudentError: There is no such model.
        """
        student, its_tokenizer = take_model(model, args, peft_config)
        tokenizer = processing_class or its_tokenizer
        super().__init__(
            model=student,
            args=args,
            data_collator=collate,  # type: ignore[arg-type]  # a TypedDict is a dict
            train_dataset=take_groups(train_dataset, args, student, tokenizer),
            eval_dataset=take_evaluated(eval_dataset, args, student, tokenizer),
            processing_class=tokenizer,
            **others,
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "DORPO trains with a whole model on every device: start it without FSDP and DeepSpeed."
            )
        self._report = Report()
        self.reading = self._choose_reading()
        self.fit = self._choose_memory()
        self._held = False

    def train(self, *arguments: Any, **others: Any) -> Any:
        """What the Trainer does, with the attention that the reading needs."""
        with attention_of(self.reading.way, bare(self.model)):
            return super().train(*arguments, **others)

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
        self._report.begin_step(
            read=sum(map(self._size, groups)), apart=sum(group.tokens_apart for group in groups)
        )
        mine = self._share(groups, at_once=self.args.per_device_train_batch_size)
        return [mine[turn :: len(drawn)] for turn in range(len(drawn))], self._weight(groups).to(device)

    def _share(self, groups: Sequence[Group], *, at_once: int) -> list[Batch]:
        """What this process computes of groups that all of them know, as micro-batches; there may be none."""
        batches = micro_batches(groups, self._size, at_once=at_once, budget=self._budget)
        sizes = [sum(map(self._size, batch)) for batch in batches]
        return [collate(batches[index]) for index in sorted(deal(sizes, processes.count())[processes.rank()])]

    def _weight(self, groups: Sequence[Group]) -> Tensor:
        weigh = self.args.loss_options.weight_of
        return torch.tensor(sum(weigh(float(group.weight)) for group in groups))

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
        self._report.add(result.metrics, "train" if model.training else "eval")
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
                low_memory=self.fit.low_memory,
            )
        self._report.add(result.metrics, "train")
        return result.loss.detach()

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,  # noqa: ARG002 - the Trainer's signature
        prediction_loss_only: bool | None = None,  # noqa: ARG002
        ignore_keys: list[str] | None = None,  # noqa: ARG002
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The loss over all groups, whose share this process computes as in an optimizer step.

        The Trainer's own loop deals out rows, some of them twice so that everybody has as many, and keeps
        logits of whole vocabularies.
        """
        groups = list(cast(Any, dataloader.dataset))
        weight = self._weight(groups).to(self.args.device)
        self.callback_handler.eval_dataloader = dataloader
        model: Any = self.model
        model.eval()
        loss = 0.0
        with torch.no_grad(), attention_of(self.reading.way, bare(model)):
            for batch in self._share(groups, at_once=self.args.per_device_eval_batch_size):
                inputs = self._prepare_inputs(batch)  # type: ignore[arg-type]  # a TypedDict is a dict
                loss += self.compute_loss(model, inputs, num_items_in_batch=weight).item()
                self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        metrics = {f"{metric_key_prefix}_loss": sum(processes.gathered(loss))}
        return EvalLoopOutput(cast(Any, None), None, metrics, num_samples=len(groups))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means since the last report to what the Trainer reports."""
        during = "eval" if any(name.startswith("eval_") for name in logs) else "train"
        prefix = "eval_" if during == "eval" else ""
        logs |= {prefix + name: value for name, value in self._report.take(during).items()}
        super().log(logs, start_time)

    def _choose_reading(self) -> Reading:
        if self.args.low_memory:
            if against := self._obstacle():
                raise ValueError(f"{_LOW_MEMORY}: {against}.")
            return self._read_by("kv")
        return self._read_by(self.args.prefix_sharing)

    def _read_by(self, wanted: str) -> Reading:
        student = bare(self.model)
        reading = choose_reading(
            student,
            self.args.device,
            wanted=wanted,
            checkpointing=self._checkpointing,
            measured=lambda way: measured_obstacle(student, way),
        )
        _log.info(" ".join([reading.reason, *reading.notes]))
        return reading

    @property
    def _checkpointing(self) -> bool:
        return bool(self.args.activation_checkpointing or bare(self.model).is_activation_checkpointing)

    def _choose_memory(self) -> Fit:
        student, groups = bare(self.model), cast(Sequence[Group], self.train_dataset)

        def estimated(low: bool) -> Memory:
            with self.accelerator.autocast():
                if low or self._can_stage():
                    return estimate_by_response(student, groups, low_memory=low)
                sizes, budget = [self._size(group) for group in groups], self._budget
                tokens = largest(sizes, at_once=self.args.per_device_train_batch_size, budget=budget)
                return estimate_at_once(student, tokens, checkpointing=self._checkpointing)

        free = free_for_each(self.args.device)
        fit = choose(self.args.low_memory, estimated, free, self._obstacle)
        if fit.low_memory and self.reading.way is not Way.KV:
            self.reading = self._read_by("kv")
        return fit

    def _obstacle(self) -> str | None:
        return obstacle_to_low_memory(bare(self.model), self.args, checkpointing=self._checkpointing)

    def _hold_reading(self) -> None:
        """Before the first step, see that the model is still what the reading was chosen for."""
        if self._held:
            return
        student = bare(self.model)
        checkpointing = bool(student.is_activation_checkpointing)
        if against := obstacle(student, self.reading.way, self.args.device, checkpointing=checkpointing):
            raise ValueError(f"The model was changed after the trainer took it, and now {against}.")
        self._held = True

    def _can_stage(self) -> bool:
        """Staged gradients bypass what scales them for float16."""
        return self.reading.way is Way.KV and not self.args.fp16
