"""What a forward pass keeps for the backward pass, measured on short texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from attrs import frozen
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.align import hard
from dorpo.batches import Group, collate, to_device
from dorpo.fast_adapters import fast_adapters
from dorpo.forward import response_states
from dorpo.pieces import leaves, read
from dorpo.reading import Way

_TOKENS = 64


@frozen
class Kept:
    """Bytes that reading n tokens behind m others keeps: own · n + before · m + pair · n · (m + n).

    In whole models, and in one layer of it, which is computed again with gradient checkpointing.

    Attributes:
        own: Activations of a token.
        before: Copies of the keys and values of a token that is seen.
        pair: What the attention keeps of two tokens; nothing where it is computed in blocks.
        cache: Keys and values of a token themselves, which are there without a backward pass too.
        layer: As `own`, in one layer.
        layer_pair: As `pair`, in one layer.
    """

    own: float
    before: float
    pair: float
    cache: float
    layer: float
    layer_pair: float

    def of(self, tokens: int, before: int = 0) -> float:
        """Of so many tokens behind so many others."""
        return self.own * tokens + self.before * before + self.pair * tokens * (before + tokens)

    def in_layer(self, tokens: int, before: int = 0) -> float:
        """The same in one layer."""
        return self.layer * tokens + self.layer_pair * tokens * (before + tokens)


def kept_behind_prefixes(model: PreTrainedModel) -> Kept:
    """What `dorpo.pieces.read` keeps; the model can be read by `Way.KV`, and is left as it was."""
    sizes = [(_TOKENS, _TOKENS), (2 * _TOKENS, _TOKENS), (_TOKENS, 2 * _TOKENS)]
    ids = torch.zeros(2 * _TOKENS, dtype=torch.long, device=model.device)
    found, cached = [], 0
    with _training(model), fast_adapters(model):
        for tokens, before in sizes:
            prefix = leaves(read(model, None, ids[:before], keep=False).end)
            cached = sum(layer.keys.nbytes + layer.values.nbytes for layer in _layers(prefix.cache))
            found.append(bytes_kept(model, partial(read, model, prefix, ids[:tokens], keep=True)))
    equations = [[tokens, before, tokens * (before + tokens)] for tokens, before in sizes]
    own, copies, pair = (float(size) for size in np.linalg.solve(equations, found).clip(min=0))
    depth = _depth(model)
    return Kept(own, copies, pair, cached / (2 * _TOKENS), own / depth, pair / depth)


def kept_by_texts(model: PreTrainedModel, *, checkpointing: bool = False) -> Kept:
    """What reading whole texts keeps, of any model, which is left as it was.

    Args:
        model: The student.
        checkpointing: Whether activations will be computed again, which the Trainer only sees to later.
    """
    # Activations are computed again in training only.
    whole, pairs = _by_texts(model, training=False)
    switch = checkpointing and not model.is_activation_checkpointing
    if switch:
        model.activation_checkpointing_enable()
    try:
        own, pair = _by_texts(model, training=True)
    finally:
        if switch:
            model.activation_checkpointing_disable()  # type: ignore[no-untyped-call]  # of transformers
    depth = _depth(model)
    return Kept(own, 0.0, pair, 0.0, whole / depth, pairs / depth)


def _by_texts(model: PreTrainedModel, *, training: bool) -> tuple[float, float]:
    """Bytes a token and bytes a pair of tokens."""
    found = []
    with _training(model, training):
        for tokens in (_TOKENS, 2 * _TOKENS):
            probe = Group(prompt=(0,) * tokens, chosen=(0,), labels=hard((0,)), rejected=())
            batch = to_device(collate([probe]), model.device)
            found.append(bytes_kept(model, partial(response_states, model, batch, Way.SEPARATE)))
    once, twice = found
    pair = max(0.0, (twice - 2 * once) / (2 * _TOKENS**2))
    return once / _TOKENS - pair * _TOKENS, pair


def bytes_kept(model: PreTrainedModel, forward: Callable[[], Any]) -> int:
    """What a forward pass keeps beside the model's own tensors."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Held until the end, so that no other tensor gets the same place.
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@contextmanager
def _training(model: PreTrainedModel, on: bool = True) -> Iterator[None]:
    before = model.training
    model.train(on)
    try:
        yield
    finally:
        model.train(before)


def _layers(cache: Any) -> list[Any]:
    return list(cache.layers)


def _depth(model: PreTrainedModel) -> int:
    return int(model.config.get_text_config().num_hidden_layers)
