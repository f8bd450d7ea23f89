"""How a student reads the texts of a batch: the pure choice, with a reason that can be told.

A wrong way gives wrong numbers without an error: gradient checkpointing drops a prompt's keys and values, a
mask of booleans is added instead of applied by eager attention, one mask for all layers undoes a sliding
window. So a way is taken only if nothing speaks against it, and `dorpo.probe` compares it with separate texts
before the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import torch
from attrs import frozen
from torch import nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

_MASKED_KINDS = {"full_attention", "sliding_attention"}
_MASKED_ATTENTION = ("sdpa", "eager")


class Way(StrEnum):
    """The ways, see the modules that go them."""

    FLEX = "flex"  # dorpo.tree, with FlexAttention
    KV = "kv"  # dorpo.sharing
    TREE = "tree"  # dorpo.tree
    SEPARATE = "separate"  # dorpo.forward


# The best first: FlexAttention skips what a mask hides, a mask only hides it.
WAYS = {
    "auto": (Way.FLEX, Way.KV, Way.TREE, Way.SEPARATE),
    "tree": (Way.FLEX, Way.TREE),
    "kv": (Way.KV,),
    "off": (Way.SEPARATE,),
}


@frozen
class Reading:
    """A choice.

    Attributes:
        way: How texts are read.
        reason: Why, in one sentence.
        notes: What is worth knowing about the numbers, in sentences.
    """

    way: Way
    reason: str
    notes: tuple[str, ...] = ()


def choose_reading(
    model: PreTrainedModel,
    device: torch.device | str,
    *,
    wanted: str = "auto",
    checkpointing: bool | None = None,
    measured: Callable[[Way], str | None] = lambda _way: None,
) -> Reading:
    """Choose the first way that is exact.

    Args:
        model: The student, without a wrapper around it.
        device: Where it is trained.
        wanted: "auto", "tree", "kv" or "off".
        checkpointing: Whether activations will be computed again; as the model is set up now, if not told.
        measured: What a trial says against a way that nothing else speaks against, see `dorpo.probe`.

    Raises:
        ValueError: The way that is wanted is unknown, or would be inexact.
    """
    if wanted not in WAYS:
        raise ValueError(f"prefix_sharing must be one of {', '.join(WAYS)}, it is {wanted}.")
    if checkpointing is None:
        checkpointing = bool(model.is_activation_checkpointing)
    passed_over: list[str] = []
    for way in WAYS[wanted]:
        against = obstacle(model, way, device, checkpointing=checkpointing) or measured(way)
        if against is None:
            return Reading(way, _reason(way, passed_over), _notes(model))
        # Nobody misses FlexAttention where there is none.
        if way is not Way.FLEX or torch.device(device).type == "cuda":
            passed_over.append(against)
    raise ValueError(
        f'prefix_sharing="{wanted}" would train on wrong numbers, because {"; ".join(passed_over)}: '
        'use prefix_sharing="auto".'
    )


def obstacle(
    model: PreTrainedModel, way: Way, device: torch.device | str, *, checkpointing: bool
) -> str | None:
    """What makes a way inexact for a model, as a clause; None if nothing does."""
    match way:
        case Way.SEPARATE:
            return None
        case Way.KV:
            if checkpointing:
                return "gradient checkpointing drops the keys and values of a prompt"
            return None if _attends(model) else _STATE
        case Way.TREE:
            attention = model.config._attn_implementation
            if attention not in _MASKED_ATTENTION:
                return f"the attention {attention} takes no mask of a tree"
            return _mask_obstacle(model)
        case Way.FLEX:
            if torch.device(device).type != "cuda":
                return "FlexAttention has a backward pass on CUDA only"
            if not model._supports_flex_attn or _attention_dropout(model):
                return "FlexAttention does not compute this model's attention"
            return _mask_obstacle(model)


def quick_way(model: PreTrainedModel) -> Way:
    """The way for a look at a model as it is set up now: exact by its structure, without a trial."""
    device = model.device
    ways = (Way.KV, Way.TREE)
    checkpointing = bool(model.is_activation_checkpointing)
    exact = (way for way in ways if obstacle(model, way, device, checkpointing=checkpointing) is None)
    return next(exact, Way.SEPARATE)


def drops_out(model: PreTrainedModel) -> bool:
    """Whether two passes over a text give different numbers."""
    return _attention_dropout(model) or any(
        isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()
    )


def layer_kinds(model: PreTrainedModel) -> list[str]:
    """The kind of every layer, as the keys of the masks name it."""
    config: Any = model.config.get_text_config()
    if kinds := getattr(config, "layer_types", None):
        return list(kinds)
    slides = isinstance(DynamicCache(config=model.config).layers[0], DynamicSlidingWindowLayer)
    return ["sliding_attention" if slides else "full_attention"] * config.num_hidden_layers


_STATE = "this model has layers whose state cannot be attended to"


def _attends(model: PreTrainedModel) -> bool:
    layers = DynamicCache(config=model.config).layers
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    return len(layers) == count and all(
        type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers
    )


def _mask_obstacle(model: PreTrainedModel) -> str | None:
    if not _attends(model):
        return _STATE
    if others := sorted(set(layer_kinds(model)) - _MASKED_KINDS):
        return f"a tree has no mask for layers of the kind {', '.join(others)}"
    return None


def _reason(way: Way, passed_over: list[str]) -> str:
    what = {
        Way.FLEX: "Groups are read as trees in one row with FlexAttention",
        Way.KV: "Every beginning is read once, and all that continues it attends to its keys and values",
        Way.TREE: "Prompt and responses of a group are read in one row under a mask",
        Way.SEPARATE: "Every response is read behind its own copy of the prompt",
    }[way]
    return f"{what}, because {'; '.join(passed_over)}." if passed_over else f"{what}."


def _notes(model: PreTrainedModel) -> tuple[str, ...]:
    notes = []
    if drops_out(model):
        notes.append(
            "With dropout the responses of a group share their prompt's draw: the same on average only."
        )
    if getattr(model.config.get_text_config(), "router_aux_loss_coef", None):
        notes.append("The auxiliary loss of the experts' router is no part of the objective.")
    return tuple(notes)


def _attention_dropout(model: PreTrainedModel) -> bool:
    return bool(getattr(model.config.get_text_config(), "attention_dropout", 0.0))
