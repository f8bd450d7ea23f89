"""What a trainer is given, made ready: a model under any of its names, rows in any of the usual formats."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from transformers import AutoTokenizer, set_seed

from dorpo.batches import Group
from dorpo.checks import check
from dorpo.configuration import DORPOConfig
from dorpo.encoding import encode_rows, mark
from dorpo.preferences import PreferenceError, encode_preferences
from dorpo.store import Row, Store
from dorpo.student import LoraSettings, add_adapters, load_student
from dorpo.tokens import student_tokens

_log = logging.getLogger(__name__)


def take_model(model: Any, args: DORPOConfig, peft_config: PeftConfig | None) -> tuple[Any, Any]:
    """A model to train, and its tokenizer where it was loaded here.

    Args:
        model: A model, which is trained as it is, or what `dorpo.student.load_student` can load, which gets
            adapters unless `args.full` is set.
        args: The arguments of the training.
        peft_config: The adapters, instead of those that `args` describe.

    Raises:
        ValueError: These do not go together.
        dorpo.student.StudentError: There is no such model.
    """
    # Adapters begin at random.
    set_seed(args.seed)
    if not isinstance(model, str | Path):
        if args.qlora:
            raise ValueError(
                "With qlora the trainer loads the model itself: give its name instead of a model."
            )
        if peft_config is None:
            return model, None
        if isinstance(model, PeftModel):
            raise ValueError("The model has adapters already: leave peft_config out, or merge them first.")
        return add_adapters(model, peft_config, checkpointing=bool(args.activation_checkpointing)), None
    lora = None if args.full else peft_config or LoraSettings(args.lora_rank, args.lora_alpha)
    student = load_student(
        str(model),
        device=args.device.type,
        lora=lora,
        exact=args.full,
        quantized=args.qlora,
        checkpointing=bool(args.activation_checkpointing),
        allow_download=True,
    )
    return student.model, student.tokens.tokenizer


def take_groups(data: Any, args: DORPOConfig, model: Any, tokenizer: Any) -> list[Group]:
    """The groups of a dataset that the student can read whole.

    Args:
        data: Groups, rows of the store or a store, or preference rows, see `dorpo.preferences`.
        args: The arguments of the training.
        model: The student.
        tokenizer: Its tokenizer; without it, the one that the model's name stands for.

    Raises:
        ValueError: There is nothing to train on.
    """
    groups = _encode(data, args, model, tokenizer)
    window = getattr(model.config, "max_position_embeddings", None)
    limit = min(length for length in (args.max_length, window, 1 << 62) if length)
    fitting = [group for group in groups if group.longest <= limit]
    if not fitting:
        raise PreferenceError(
            f"None of the {len(groups)} prompts with their responses fits into {limit} tokens: "
            "raise max_length, or take a student that reads more."
            if groups
            else "The dataset is empty: give at least one row."
        )
    if left_out := len(groups) - len(fitting):
        _log.warning("%d of %d prompts are left out: longer than %d tokens.", left_out, len(groups), limit)
    return [mark(group) for group in fitting] if args.or_tokens == "diff" else fitting


def take_evaluated(data: Any, args: DORPOConfig, model: Any, tokenizer: Any) -> Any:
    """The groups to evaluate on, of several datasets by their names; nothing of nothing."""
    if data is None:
        return None
    if isinstance(data, dict):
        return {name: take_groups(part, args, model, tokenizer) for name, part in data.items()}
    return take_groups(data, args, model, tokenizer)


def _encode(data: Any, args: DORPOConfig, model: Any, tokenizer: Any) -> list[Group]:
    if isinstance(data, Store):
        checked = check(data.snapshot()[0])
        for flaw, count in checked.dropped.items():
            _log.warning("Rows left out: %d %s.", count, flaw)
        data = checked.rows
    if isinstance(data, Mapping):
        raise PreferenceError("The dataset has several splits: pass one of them.")
    rows = data if isinstance(data, Sequence) and not isinstance(data, str) else iter(data)
    if isinstance(rows, Sequence) and all(isinstance(row, Group) for row in rows):
        return list(rows)
    tokenizer = tokenizer or _tokenizer_of(model)
    if isinstance(rows, Sequence) and all(isinstance(row, Row) for row in rows):
        return encode_rows(rows, student_tokens(tokenizer), top_k=args.top_k)
    return encode_preferences(rows, tokenizer, top_k=args.top_k)


def _tokenizer_of(model: Any) -> Any:
    name = getattr(model.config, "_name_or_path", "")
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # foreign folders fail in every library's own way
        raise ValueError("The model's tokenizer is not known: pass it as processing_class.") from error
