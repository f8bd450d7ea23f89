"""A training step that goes segment by segment, so that memory does not grow with the rejected responses.

The segments of the chosen response go forward, from the prompt on; keys and values of each become leaves of
new graphs. Then every other segment goes forward, whatever continues it does both, and it goes backward at
once: the slope of the loss at its tokens is the sum over all responses that it belongs to, and depends on no
others but the chosen one. The chosen response goes backward last, from its end to the prompt, each segment
with what all its continuations have left in the keys and values. Gradients are those of
`dorpo.loss.dorpo_loss` over the whole batch.

With low memory, segments that have to wait for their backward pass are read without a graph first, and again
piece by piece, see `dorpo.pieces`: the memory then depends on the length of a piece, and of all texts only
keys and values remain. It costs one more forward pass of all but the short ends of rejected responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from attrs import define, field
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.batches import Batch
from dorpo.fast_adapters import fast_adapters
from dorpo.forward import head_scores, spread
from dorpo.loss import DORPOLoss, LossOptions, dorpo_loss
from dorpo.pieces import PIECE, Text, leaves, read, share_storage
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
        for seq in batch["seq_is_chosen"].nonzero().flatten().tolist():
            step.run(step.path(seq))
    return dorpo_loss(*spread(step.kl, step.logps, batch), batch, options, total_weight=total_weight)


@define(eq=False)
class _Segment:
    """Tokens of one or more texts, between their forward and their backward pass.

    Attributes:
        number: Which of the batch's segments.
        above: The segment it continues, or None for a prompt.
        text: On its way through the model.
        states: Its hidden states [n, H], as a leaf.
        scored: The predictions that are made from them, as indices into the batch's different ones [u].
        scores: KL and log-probability of these, with the graph of the vocabulary head.
    """

    number: int
    above: _Segment | None
    text: Text
    states: Tensor
    scored: Tensor
    scores: tuple[Tensor, Tensor]

    @cached_property
    def seen(self) -> Prefix:
        """Its end as leaves, which all that continues it shares."""
        return leaves(self.text.end)


@define(eq=False)
class _Step:
    """A batch on its way; the two numbers of every different prediction are filled in."""

    model: PreTrainedModel
    batch: Batch
    options: LossOptions
    total_weight: Tensor | None
    low_memory: bool
    piece: int
    ids: tuple[Tensor, ...] = field(init=False)
    parents: list[int] = field(init=False)
    kl: Tensor = field(init=False)
    logps: Tensor = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ids = split(self.batch)
        self.parents = self.batch["segment_parent"].tolist()
        self.kl = torch.zeros(self.batch["scored"].shape, device=self.batch["scored"].device)
        self.logps = torch.zeros_like(self.kl)

    def path(self, seq: int) -> list[int]:
        """The segments of a response, its prompt's first."""
        last = self.batch["source"][self.batch["seq_ids"] == seq][-1]
        path = [int(self.batch["segment_ids"][last])]
        while (parent := self.parents[path[0]]) >= 0:
            path.insert(0, parent)
        return path

    def run(self, path: list[int]) -> None:
        """Add the gradients of a group, of which these are the segments of its chosen response."""
        waiting: list[_Segment] = []
        for number in path:
            waiting.append(self._forward(number, waiting[-1] if waiting else None, waits=True))
        if self.low_memory:
            share_storage([piece.after for segment in waiting for piece in segment.text.pieces])
        for segment in waiting:
            self._continue(segment, leaving_out=path)
        while waiting:
            self._backward(waiting.pop())

    def _continue(self, above: _Segment, leaving_out: Sequence[int] = ()) -> None:
        """Go forward and backward through all that continues a segment."""
        for number, parent in enumerate(self.parents):
            if parent == above.number and number not in leaving_out:
                self._go(number, above)

    def _go(self, number: int, above: _Segment) -> None:
        segment = self._forward(number, above, waits=number in self.parents)
        self._continue(segment)
        self._backward(segment)

    def _forward(self, number: int, above: _Segment | None, *, waits: bool) -> _Segment:
        ids, batch = self.ids[number], self.batch
        keep = not self.low_memory or not (waits or ids.shape[0] > self.piece)
        prefix = None if above is None else above.seen if keep else above.text.end
        text = read(self.model, prefix, ids, keep=keep, piece=self.piece)
        states = text.states().detach().requires_grad_()
        source = batch["source"][batch["scored"]]
        scored = (batch["segment_ids"][source] == number).nonzero().flatten()
        first = int((batch["segment_ids"] < number).sum())
        scores = head_scores(self.model, states[source[scored] - first], batch, batch["scored"][scored])
        self.kl[scored], self.logps[scored] = (score.detach() for score in scores)
        return _Segment(number, above, text, states, scored, scores)

    def _backward(self, segment: _Segment) -> None:
        """Go backward with the slopes of the loss at a segment's predictions.

        At rejected responses they depend on those and the chosen one, at the chosen one on all: what is not
        filled in yet does not matter.
        """
        kl, logps = self.kl.clone().requires_grad_(), self.logps.clone().requires_grad_()
        numbers = spread(kl, logps, self.batch)
        result = dorpo_loss(*numbers, self.batch, self.options, total_weight=self.total_weight)
        slopes = [slope[segment.scored] for slope in torch.autograd.grad(result.loss, (kl, logps))]
        torch.autograd.backward(segment.scores, slopes)
        if (of_states := segment.states.grad) is not None:
            above = segment.above.seen if segment.above else None
            seen = segment.seen if segment.number in self.parents else None
            segment.text.backward(of_states, above, seen)
