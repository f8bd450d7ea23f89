"""What a DORPO training can be told, on top of transformers' training arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from dorpo.loss import LossOptions
from dorpo.reading import WAYS


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
            "kv", no dropout and no float16.
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
