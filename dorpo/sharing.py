"""Hidden states of the response tokens, with every common beginning of texts read once.

Keys and values of a beginning are all that its continuations see of it, so they are computed once, with their
graph, and each continuation attends to them: the numbers and gradients are those of
`dorpo.forward.separate_states`, at the cost of the distinct tokens only. For prompts of pairs in one
sequence, the idea is in arXiv 2410.20305.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from dorpo.batches import Batch


@frozen(eq=False)
class Prefix:
    """A beginning as its continuations see it.

    Attributes:
        cache: Keys and values of every layer.
        length: Tokens.
    """

    cache: DynamicCache
    length: int

    def twin(self) -> DynamicCache:
        """A cache to which a continuation may add.

        Layers replace their tensors and never write into them, so new layers around the same tensors suffice.
        """
        twin = copy.copy(self.cache)
        twin.layers = [copy.copy(layer) for layer in self.cache.layers]
        return twin


def read_on(model: PreTrainedModel, before: Prefix | None, ids: Tensor) -> tuple[Tensor, Prefix]:
    """Read tokens [n] behind a beginning, or as one.

    Returns:
        (their hidden states [n, H], what a continuation sees)
    """
    cache = before.twin() if before else DynamicCache(config=model.config)
    states: Tensor = decoder(model)(input_ids=ids[None], cache=cache, use_cache=True).last_hidden_state[0]
    return states, Prefix(cache, (before.length if before else 0) + ids.shape[0])


def split(batch: Batch) -> tuple[Tensor, ...]:
    """The token ids of every segment."""
    sizes = torch.bincount(batch["segment_ids"], minlength=batch["segment_parent"].shape[0])
    return torch.split(batch["input_ids"], sizes.tolist())


def shared_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """What `dorpo.forward.separate_states` computes, [N, H], with every segment read once."""
    parents = batch["segment_parent"].tolist()
    ends: dict[int, Prefix] = {}
    states = []
    for number, (parent, ids) in enumerate(zip(parents, split(batch), strict=True)):
        own, end = read_on(model, ends.get(parent), ids)
        states.append(own)
        if number in parents:
            ends[number] = end
    return torch.cat(states)[batch["source"]]


def decoder(model: PreTrainedModel) -> Any:
    """The layers, without the vocabulary head."""
    return model.get_decoder()  # type: ignore[no-untyped-call]  # of transformers
