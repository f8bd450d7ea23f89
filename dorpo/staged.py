"""A training step that goes response by response, so that memory does not grow with the rejected ones.

The prompt is read once; its keys and values become leaves of new graphs. The chosen response goes forward.
Every rejected one goes forward and at once backward, because the slope of the loss at its tokens depends on
no other rejected response. The chosen response goes backward next, and last the prompt, with what all its
responses have left in the keys and values. Gradients are those of `dorpo.loss.dorpo_loss` over the whole
batch.

With low memory, prompt and chosen response are first read without a graph and again when they go backward: at
any time one text's graph exists, for one more forward pass of these two.
"""

from __future__ import annotations

from typing import Any

import torch
from attrs import define, field
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.batches import Batch
from dorpo.forward import head_scores
from dorpo.loss import DORPOLoss, LossOptions, dorpo_loss
from dorpo.sharing import Prefix, read_prompt, read_responses, split


def staged_backward(
    model: PreTrainedModel,
    batch: Batch,
    options: LossOptions,
    *,
    total_weight: Tensor | None = None,
    low_memory: bool = False,
) -> DORPOLoss:
    """Add a batch's gradients to the parameters.

    Args:
        model: A student that can be read by `dorpo.reading.Way.KV`.
        batch: Its groups are handled one after the other.
        options: Of the loss.
        total_weight: See `dorpo.loss.dorpo_loss`.
        low_memory: Whether to compute more and keep less.

    Returns:
        The loss and what to report about it, without a graph.
    """
    step = _Step(model, batch, options, total_weight, low_memory)
    for group in range(batch["group_weight"].shape[0]):
        step.run(group)
    return dorpo_loss(step.kl, step.logps, batch, options, total_weight=total_weight)


@define(eq=False)
class _Step:
    """A batch on its way; the two numbers of every token are filled in."""

    model: PreTrainedModel
    batch: Batch
    options: LossOptions
    total_weight: Tensor | None
    low_memory: bool
    kl: Tensor = field(init=False)
    logps: Tensor = field(init=False)

    def __attrs_post_init__(self) -> None:
        target = self.batch["target"]
        self.kl = torch.zeros(target.shape, device=target.device)
        self.logps = torch.zeros_like(self.kl)

    def run(self, group: int) -> None:
        prompt, (chosen, *rejected) = split(self.batch, group)
        first = int((self.batch["seq_group"] < group).sum())
        with torch.set_grad_enabled(not self.low_memory):
            prefix = read_prompt(self.model, prompt)
        leaf = _leaf(prefix)
        with torch.set_grad_enabled(not self.low_memory):
            scores = self._forward(leaf, chosen, first)
        for seq, response in enumerate(rejected, first + 1):
            self._backward(self._forward(leaf, response, seq), seq)
        self._backward(self._forward(leaf, chosen, first) if self.low_memory else scores, first)
        _finish(read_prompt(self.model, prompt) if self.low_memory else prefix, leaf)

    def _forward(self, prefix: Prefix, response: Tensor, seq: int) -> tuple[Tensor, Tensor]:
        at = self.batch["seq_ids"] == seq
        kl, logps = head_scores(self.model, read_responses(self.model, prefix, [response]), self.batch, at)
        self.kl[at], self.logps[at] = kl.detach(), logps.detach()
        return kl, logps

    def _backward(self, scores: tuple[Tensor, Tensor], seq: int) -> None:
        """Go backward with the slope of the loss at one response's tokens.

        At a rejected one it depends on that and the chosen one, at the chosen one on all: what is not filled
        in yet does not matter.
        """
        kl, logps = self.kl.clone().requires_grad_(), self.logps.clone().requires_grad_()
        result = dorpo_loss(kl, logps, self.batch, self.options, total_weight=self.total_weight)
        at = self.batch["seq_ids"] == seq
        slopes = [slope[at] for slope in torch.autograd.grad(result.loss, (kl, logps))]
        torch.autograd.backward(scores, slopes)


def _leaf(prefix: Prefix) -> Prefix:
    """The same numbers as leaves that collect what flows back."""
    twin: Any = prefix.repeated(1)
    for layer in twin.layers:
        layer.keys = layer.keys.detach().requires_grad_()
        layer.values = layer.values.detach().requires_grad_()
    return Prefix(twin, prefix.last.detach().requires_grad_(), prefix.length)


def _finish(prefix: Prefix, leaf: Prefix) -> None:
    """Go backward through a prompt with what its responses have collected."""
    pairs = zip(_seen(prefix), _seen(leaf), strict=True)
    reached = [(tensor, collected.grad) for tensor, collected in pairs if collected.grad is not None]
    torch.autograd.backward([tensor for tensor, _ in reached], [slope for _, slope in reached])


def _seen(prefix: Prefix) -> list[Tensor]:
    """All that responses see of a prompt."""
    layers: Any = prefix.cache.layers
    return [prefix.last, *(tensor for layer in layers for tensor in (layer.keys, layer.values))]
