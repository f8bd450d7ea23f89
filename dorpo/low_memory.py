"""A training step that holds the activations of one prompt or one response at a time.

First everything is read without a graph, which gives the loss and its slope at every token. Then each
response is read again, now with a graph, and goes backward at once into the parameters and into its prompt's
keys and values; last, the prompt is read again and goes backward with what its responses have left there. It
costs one more forward pass; the memory depends on the longest text, not on how many there are. Gradients are
those of the whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.batches import Batch
from dorpo.forward import head_scores
from dorpo.loss import DORPOLoss, LossOptions, dorpo_loss
from dorpo.sharing import Prefix, read_prompt, read_responses, split


def low_memory_backward(
    model: PreTrainedModel, batch: Batch, options: LossOptions, *, total_weight: Tensor | None = None
) -> DORPOLoss:
    """Add a batch's gradients to the parameters.

    Args:
        model: A student whose prompts can be shared, see `dorpo.sharing.can_share`.
        batch: Its groups are handled one after the other.
        options: Of the loss.
        total_weight: See `dorpo.loss.dorpo_loss`.

    Returns:
        The loss and what to report about it; its graph is used up.
    """
    groups = [split(batch, group) for group in range(batch["group_weight"].shape[0])]
    with torch.no_grad():
        prefixes = [read_prompt(model, prompt) for prompt, _ in groups]
        kl, logps = (torch.zeros(batch["target"].shape, device=batch["target"].device) for _ in range(2))
        for seq, (prefix, response) in enumerate(_texts(prefixes, groups)):
            at = batch["seq_ids"] == seq
            kl[at], logps[at] = _scores(model, prefix, response, batch, at)
    kl.requires_grad_()
    logps.requires_grad_()
    result = dorpo_loss(kl, logps, batch, options, total_weight=total_weight)
    kl_slope, logp_slope = torch.autograd.grad(result.loss, (kl, logps))

    leaves = [_leaf(prefix) for prefix in prefixes]
    for seq, (prefix, response) in enumerate(_texts(leaves, groups)):
        at = batch["seq_ids"] == seq
        scores = _scores(model, prefix, response, batch, at)
        torch.autograd.backward(scores, (kl_slope[at], logp_slope[at]))
    for leaf, (prompt, _) in zip(leaves, groups, strict=True):
        _finish(read_prompt(model, prompt), leaf)
    return result


def _texts(prefixes: list[Prefix], groups: list[tuple[Tensor, list[Tensor]]]) -> list[tuple[Prefix, Tensor]]:
    """Every response with its prompt, in the order of the batch."""
    return [
        (prefix, response)
        for prefix, (_, responses) in zip(prefixes, groups, strict=True)
        for response in responses
    ]


def _scores(
    model: PreTrainedModel, prefix: Prefix, response: Tensor, batch: Batch, at: Tensor
) -> tuple[Tensor, Tensor]:
    return head_scores(model, read_responses(model, prefix, [response]), batch, at)


def _leaf(prefix: Prefix) -> Prefix:
    """The same numbers as leaves that collect what flows back."""
    twin: Any = prefix.repeated(1)
    for layer in twin.layers:
        layer.keys = layer.keys.detach().requires_grad_()
        layer.values = layer.values.detach().requires_grad_()
    return Prefix(twin, prefix.last.detach().requires_grad_(), prefix.length)


def _finish(prefix: Prefix, leaf: Prefix) -> None:
    """Go backward through a prompt with what its responses have collected."""
    tensors, collected = _seen(prefix), [tensor.grad for tensor in _seen(leaf)]
    reached = [(tensor, slope) for tensor, slope in zip(tensors, collected, strict=True) if slope is not None]
    torch.autograd.backward([tensor for tensor, _ in reached], [slope for _, slope in reached])


def _seen(prefix: Prefix) -> list[Tensor]:
    """All that responses see of a prompt."""
    layers: Any = prefix.cache.layers
    return [prefix.last, *(tensor for layer in layers for tensor in (layer.keys, layer.values))]
