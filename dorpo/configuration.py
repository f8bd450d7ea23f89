"""What a DORPO training can be told, on top of transformers' training arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainingArguments

from dorpo.batches import Reason
from dorpo.choices import CHUNK_KDS, COMPARED_TOKENS, GROUP_WEIGHTS, LABEL_NOISE, SOFT_LABELS
from dorpo.loss import LossOptions
from dorpo.odds import MOST_NOISE, MOST_TEACHER_WEIGHT
from dorpo.reading import WAYS

_COUNTS = ("groups_per_step", "max_tokens_per_batch", "top_k", "max_length", "lora_rank", "lora_alpha")
_CHOICES = {
    "or_soft_label": SOFT_LABELS,
    "or_tokens": COMPARED_TOKENS,
    "group_weight": GROUP_WEIGHTS,
    "chunk_kd": CHUNK_KDS,
}


@dataclass
class DORPOConfig(TrainingArguments):
    """Training arguments, with those of DORPO and defaults for training adapters on few, long rows.

    Attributes:
        beta: λ, the weight of the odds-ratio term. Its effect grows with 1 / (1 - P): text that is mostly
            copied, and therefore probable, wants less.
        kd_alpha: Share of the KL in the first term; the rest is the chosen response's negative
            log-likelihood.
        or_logp_max: Mean log-probabilities are held below this in the odds ratio.
        or_soft_label: How sure it is that chosen beats rejected: certain ("none", which is ORPO), but for the
            noise of the reason ("smooth"), or leaning as the teacher's log-probabilities of both do too
            ("teacher"), where both are known.
        or_label_noise: Of which share of the pairs the opposite is true, by the reason of the rejection;
            reasons that are left out keep their default.
        or_teacher_weight: How much the teacher leans, at most a half: it wrote what was rejected, too.
        or_tokens: The odds ratio compares the mean of "all" tokens, or of those that differ within a pair
            ("diff").
        group_weight: Whether every "row" counts the same, or every "prompt", however many rejected responses
            it has.
        chunk_kd: Where the teacher cuts a text into other tokens: the probability of the piece ("binary"),
            the same at `alm_temperature` ("alm"), or the text as a hard label ("off").
        top_k: Alternatives of the teacher that are kept for every token.
        max_length: A prompt that is longer than so many tokens with one of its responses is left out, never
            cut; without it, the limit is what the student can read.
        full: A model that is given by name gets adapters, unless this is set. A model that is loaded already
            is trained as it is.
        qlora: That model is held in four bits below its adapters; CUDA and the extra `qlora` only.
        lora_rank: Of these adapters.
        lora_alpha: Of these adapters, whose scale is alpha / rank.
        bf16: Whether to compute in bfloat16; without it, wherever the device is CUDA and can, unless float16
            is asked for.
        prefix_sharing: How a prompt is read once for all its responses: as keys and values ("kv"), under a
            mask ("tree"), not at all ("off"), or as is exact and fastest for the model ("auto"), see
            `dorpo.reading`.
        low_memory: Hold the activations of a piece of one text at a time, for some more computing; needs
            "kv", no dropout and no float16. Without it, this is done where the training would not fit into
            the memory that is free when the trainer is made, see `dorpo.low_memory`.
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

    or_soft_label: str = field(
        default="none", metadata={"help": "How sure a pair is.", "choices": list(SOFT_LABELS)}
    )
    or_label_noise: dict[str, float] = field(
        default_factory=lambda: dict(LABEL_NOISE), metadata={"help": "Share of wrong labels by reason."}
    )
    or_teacher_weight: float = field(
        default=0.25, metadata={"help": "How much the teacher leans in or_soft_label=teacher, 0 to 0.5."}
    )
    or_tokens: str = field(
        default="all", metadata={"help": "What the odds ratio compares.", "choices": list(COMPARED_TOKENS)}
    )
    group_weight: str = field(
        default="row", metadata={"help": "What counts the same.", "choices": list(GROUP_WEIGHTS)}
    )
    chunk_kd: str = field(
        default="binary", metadata={"help": "How chunks of tokens are learned.", "choices": list(CHUNK_KDS)}
    )
    alm_temperature: float = field(default=100.0, metadata={"help": "Temperature of chunk_kd=alm."})
    top_k: int = field(default=20, metadata={"help": "Alternatives of the teacher for every token."})

    max_length: int | None = field(default=None, metadata={"help": "Leave longer prompts with response out."})

    full: bool = field(default=False, metadata={"help": "Train every weight of a model given by name."})
    qlora: bool = field(default=False, metadata={"help": "Hold it in four bits below the adapters; CUDA."})
    lora_rank: int = field(default=16, metadata={"help": "Rank of its adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Their scale is alpha / rank."})
    bf16: bool | None = field(  # type: ignore[assignment]  # of TrainingArguments, where it is never None
        default=None, metadata={"help": "Compute in bfloat16; by default where CUDA does."}
    )

    prefix_sharing: str = field(
        default="auto", metadata={"help": "How a prompt is shared.", "choices": list(WAYS)}
    )
    low_memory: bool | None = field(
        default=None, metadata={"help": "Slower, with the memory of part of a text; by default if needed."}
    )
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
        if not 0 <= self.or_teacher_weight <= MOST_TEACHER_WEIGHT:
            raise ValueError(f"or_teacher_weight must be between 0 and 0.5, it is {self.or_teacher_weight}.")
        if self.alm_temperature <= 0:
            raise ValueError(f"alm_temperature must be above 0, it is {self.alm_temperature}.")
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, it is {value}.")
        self.or_label_noise = label_noise(self.or_label_noise)
        for name in _COUNTS:
            if (number := getattr(self, name)) is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, it is {number}.")
        # The Trainer counts steps by what it draws: then one group at a time.
        self.gradient_accumulation_steps = self.groups_per_step or self.gradient_accumulation_steps
        if self.full and self.qlora:
            raise ValueError("A model in four bits cannot be trained itself: leave qlora out, or full.")
        can = not self.use_cpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        if self.bf16 and not can:
            raise ValueError("bf16 needs a CUDA device that computes in bfloat16: leave it out.")
        self.bf16 = can and not self.fp16 if self.bf16 is None else self.bf16
        super().__post_init__()  # type: ignore[no-untyped-call]  # of transformers

    @property
    def loss_options(self) -> LossOptions:
        """The part of the arguments that the objective needs."""
        return LossOptions(
            beta=self.beta,
            kd_alpha=self.kd_alpha,
            logp_max=self.or_logp_max,
            soft_label=self.or_soft_label,
            label_noise=tuple(self.or_label_noise[reason.name.lower()] for reason in Reason),
            teacher_weight=self.or_teacher_weight,
            tokens=self.or_tokens,
            group_weight=self.group_weight,
            chunk_kd=self.chunk_kd,
            alm_temperature=self.alm_temperature,
        )

    @property
    def groups_at_once(self) -> int:
        """Groups that all devices together draw at once."""
        return 1 if self.groups_per_step else self.per_device_train_batch_size * self.world_size


def label_noise(changed: dict[str, float]) -> dict[str, float]:
    """The share of wrong labels by reason, with the defaults of those that are not named.

    Raises:
        ValueError: There is no such reason, or more than half of its labels would be wrong.
    """
    for reason, noise in changed.items():
        if reason not in LABEL_NOISE:
            known = ", ".join(LABEL_NOISE)
            raise ValueError(f"or_label_noise has no reason {reason}: it may have {known}.")
        if not 0 <= noise <= MOST_NOISE:
            raise ValueError(f"or_label_noise must be between 0 and 0.5, it is {noise} for {reason}.")
    return {**LABEL_NOISE, **changed}
