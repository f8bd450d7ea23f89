"""A training step that goes response by response, so that memory does not grow with the rejected ones.

The prompt is read once; its keys and values become leaves of new graphs. The chosen response goes forward.
Every rejected one goes forward and at once backward, because the slope of the loss at its tokens depends on
no other rejected response. The chosen response goes backward next, and last the prompt, with what all its
responses have left in the keys and values. Gradients are those of `dorpo.loss.dorpo_loss` over the whole
batch.

With low memory, texts that have to wait for their backward pass are read without a graph first, and again
piece by piece, see `dorpo.pieces`: the memory then depends on the length of a piece, and of all texts only
keys and values remain. It costs one more forward pass of prompt, chosen and long rejected responses.
"""

from __future__ import annotations

import torch
from attrs import define, field, frozen
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.batches import Batch
from dorpo.fast_adapters import fast_adapters
from dorpo.forward import head_scores
from dorpo.loss import DORPOLoss, LossOptions, dorpo_loss
from dorpo.pieces import PIECE, Text, leaves, read
from dorpo.sharing import Prefix, split


def staged_backward(
    model: PreTrainedModel,
    batch: Batch,
    options: LossOptions,
    *,
    total_weight: Tensor | None = None,
    low_memory: bool = False,
    piece: int = PIECE,
) -> DORPOLoss:
    """Add a batch's gradients to the parameters.

    Args:
        model: A student that can be read by `dorpo.reading.Way.KV`.
        batch: Its groups are handled one after the other.
        options: Of the loss.
        total_weight: See `dorpo.loss.dorpo_loss`.
        low_memory: Whether to compute more and keep less.
        piece: Most tokens that have a graph at once with low memory.

    Returns:
        The loss and what to report about it, without a graph.
    """
    step = _Step(model, batch, options, total_weight, low_memory, piece)
    with fast_adapters(model):
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
    piece: int
    kl: Tensor = field(init=False)
    logps: Tensor = field(init=False)

    def __attrs_post_init__(self) -> None:
        target = self.batch["target"]
        self.kl = torch.zeros(target.shape, device=target.device)
        self.logps = torch.zeros_like(self.kl)

    def run(self, group: int) -> None:
        prompt_ids, (chosen_ids, *rejected) = split(self.batch, group)
        first = int((self.batch["seq_group"] < group).sum())
        prompt = read(self.model, None, prompt_ids, keep=not self.low_memory, piece=self.piece)
        seen = leaves(prompt.end)
        chosen = self._forward(seen, chosen_ids, first, keep=not self.low_memory)
        for seq, ids in enumerate(rejected, first + 1):
            keep = not self.low_memory or ids.shape[0] <= self.piece
            self._backward(self._forward(seen, ids, seq, keep=keep))
        self._backward(chosen)
        prompt.backward(None, seen)

    def _forward(self, prompt: Prefix, ids: Tensor, seq: int, *, keep: bool) -> _Response:
        # The last token predicts nothing, and the first is predicted by the prompt.
        text = read(self.model, prompt, ids[:-1], keep=keep, piece=self.piece)
        states = torch.cat([prompt.last[None], *text.states()]).detach().requires_grad_()
        at = self.batch["seq_ids"] == seq
        kl, logps = head_scores(self.model, states, self.batch, at)
        self.kl[at], self.logps[at] = kl.detach(), logps.detach()
        return _Response(text, prompt, states, (kl, logps), at)

    def _backward(self, response: _Response) -> None:
        """Go backward with the slope of the loss at one response's tokens.

        At a rejected one it depends on that and the chosen one, at the chosen one on all: what is not filled
        in yet does not matter.
        """
        kl, logps = self.kl.clone().requires_grad_(), self.logps.clone().requires_grad_()
        result = dorpo_loss(kl, logps, self.batch, self.options, total_weight=self.total_weight)
        slopes = [slope[response.at] for slope in torch.autograd.grad(result.loss, (kl, logps))]
        torch.autograd.backward(response.scores, slopes)
        if (of_states := response.states.grad) is not None:
            torch.autograd.backward(response.prompt.last, of_states[0])
            response.text.backward(of_states[1:], None)


@frozen(eq=False)
class _Response:
    """A response between its forward and its backward pass.

    Attributes:
        text: Its tokens but the last.
        prompt: What it answers, as leaves.
        states: The hidden states that predict its tokens [n, H], as a leaf.
        scores: KL and log-probability of the tokens, with the graph of the vocabulary head.
        at: Which of the batch's response tokens are its own [N].
    """

    text: Text
    prompt: Prefix
    states: Tensor
    scores: tuple[Tensor, Tensor]
    at: Tensor
