"""A segment on its way through the model: forward now, backward later, with its graph kept or built again.

In the second case a long one is read in pieces: forward without a graph, and backward from the last piece to
the first, each read again with a graph of its own. What a piece sees of those before it, keys and values, are
leaves there; what they collect is where the backward pass of the piece before begins. The gradients are those
of the whole graph, of which only one piece exists at a time.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from attrs import define, frozen
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicLayer

from dorpo.sharing import Prefix, read_on

# Tokens with a graph at once when it is built again: enough to keep matrix products efficient.
PIECE = 512


@frozen(eq=False)
class _Piece:
    """Part of a text.

    Attributes:
        ids: Its tokens [n].
        before: What it sees, or None at the beginning of all.
        states: Its hidden states [n, H].
        after: What the next one sees.
    """

    ids: Tensor
    before: Prefix | None
    states: Tensor
    after: Prefix


@define(eq=False)
class Text:
    """A text that has been read behind a prefix, or from the beginning.

    Attributes:
        model: What read it.
        pieces: One with a graph, or any number without.
        kept: Whether the graph is there.
    """

    model: PreTrainedModel
    pieces: list[_Piece]
    kept: bool

    @property
    def end(self) -> Prefix:
        """What a continuation of the text sees."""
        return self.pieces[-1].after

    def states(self) -> Tensor:
        """Its hidden states [n, H]."""
        return torch.cat([piece.states for piece in self.pieces])

    def backward(self, slopes: Tensor, prefix: Prefix | None, seen: Prefix | None) -> None:
        """Add the gradients to the parameters, and to the leaves of the prefix. Can be done once.

        Args:
            slopes: Of the loss at the hidden states [n, H].
            prefix: What was before the text, as the leaves that its continuations share.
            seen: What `end` was to continuations, as leaves that have collected their slopes, or None.
        """
        parts = torch.split(slopes, [piece.ids.shape[0] for piece in self.pieces])
        for number, slope in reversed(list(enumerate(parts))):
            piece = self.pieces.pop()
            if not self.kept:
                before = prefix if number == 0 or piece.before is None else leaves(piece.before)
                piece = _read_on(self.model, before, piece.ids)
            _backward(piece, slope, seen)
            seen = piece.before


def read(
    model: PreTrainedModel, prefix: Prefix | None, ids: Tensor, *, keep: bool, piece: int = PIECE
) -> Text:
    """Read a text [n] behind a prefix, or from the beginning.

    Args:
        model: A student that can be read by `dorpo.reading.Way.KV`.
        prefix: What is before it; leaves, which collect what flows back, where the graph is kept.
        ids: The tokens, at least one.
        keep: Whether to keep the graph for the backward pass, or to build it again, piece by piece.
        piece: Most tokens of a piece.
    """
    count = 1 if keep else math.ceil(ids.shape[0] / piece)
    pieces: list[_Piece] = []
    with torch.set_grad_enabled(keep):
        for part in ids.tensor_split(count):
            pieces.append(_read_on(model, pieces[-1].after if pieces else prefix, part))
            share_storage([piece.after for piece in pieces])
    return Text(model, pieces, keep)


def leaves(prefix: Prefix) -> Prefix:
    """The same numbers as leaves that collect what flows back."""
    twin: Any = prefix.twin()
    for layer in twin.layers:
        layer.keys = layer.keys.detach().requires_grad_()
        layer.values = layer.values.detach().requires_grad_()
    return Prefix(twin, prefix.length)


def share_storage(prefixes: list[Prefix]) -> None:
    """Keys of layers that see everything begin with those of the prefixes before: hold them only once."""
    *earlier, newest = prefixes
    for prefix in earlier:
        pairs: Any = zip(prefix.cache.layers, newest.cache.layers, strict=True)
        for layer, whole in pairs:
            if type(layer) is DynamicLayer:
                layer.keys = whole.keys[..., : prefix.length, :]
                layer.values = whole.values[..., : prefix.length, :]


def _read_on(model: PreTrainedModel, before: Prefix | None, ids: Tensor) -> _Piece:
    return _Piece(ids, before, *read_on(model, before, ids))


def _backward(piece: _Piece, slope: Tensor, seen: Prefix | None) -> None:
    """Go backward through a piece with the slopes at its states, and what later ones have collected."""
    reached = [(piece.states, slope)]
    if seen:
        pairs = zip(_tensors(piece.after), _tensors(seen), strict=True)
        # Below the first adapter nothing asks for gradients.
        asking = [(tensor, leaf.grad) for tensor, leaf in pairs if tensor.requires_grad]
        reached += [(tensor, grad) for tensor, grad in asking if grad is not None]
    torch.autograd.backward([tensor for tensor, _ in reached], [slope for _, slope in reached])


def _tensors(prefix: Prefix) -> list[Tensor]:
    layers: Any = prefix.cache.layers
    return [tensor for layer in layers for tensor in (layer.keys, layer.values)]
