"""How much memory a training takes, estimated before its first step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import frozen
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.batches import Group
from dorpo.chunked_head import CHUNK
from dorpo.kept import Kept, kept_behind_prefixes, kept_by_texts
from dorpo.pieces import PIECE

# AdamW keeps two numbers for every weight, and the gradient is a third.
_NUMBERS_PER_WEIGHT = 3
# Logits, their float32 copy and the student's probabilities.
_HEAD_COPIES = 3
# Of every response token the head keeps three rows of the width of a state, see `dorpo.chunked_head`.
_HEAD_ROWS = 3
_FLOAT = 4
# The backward pass of a layer works with its activations, their slopes and what it computes in between.
_WORKING_LAYERS = 3
# Tensors of many sizes leave gaps that no other fits into: 1 to 1.5, bench/memory_estimate.py finds.
_GAPS = 1.3


@frozen
class Memory:
    """What a training needs, in bytes, without what Python and its libraries take themselves.

    Attributes:
        weights: The student with its adapters, which is there already.
        optimizer: Gradients and the optimizer's two moments.
        activations: What the backward pass needs of the texts that are read at once, and of the vocabulary.
    """

    weights: int
    optimizer: int
    activations: int

    @property
    def missing(self) -> int:
        """What must be there beside the student."""
        return self.optimizer + self.activations

    @property
    def total(self) -> int:
        """What must be there, the student's own weights included."""
        return self.weights + self.missing


def estimate_by_response(model: PreTrainedModel, groups: Sequence[Group], *, low_memory: bool) -> Memory:
    """Of a training that goes response by response, see `dorpo.staged`.

    Args:
        model: The student where it will be trained, without a wrapper around it.
        groups: All that it will see.
        low_memory: Whether to compute more and keep less.
    """
    kept, held = kept_behind_prefixes(model), in_pieces if low_memory else in_stages
    config = model.config.get_text_config()
    return _estimate(model, max(held(kept, group, config.hidden_size, _logits(model)) for group in groups))


def estimate_at_once(model: PreTrainedModel, tokens: int, *, checkpointing: bool) -> Memory:
    """Of a training that reads whole micro-batches.

    Args:
        model: As for `estimate_by_response`.
        tokens: Of the largest micro-batch.
        checkpointing: Whether activations are computed again on the way back.
    """
    kept = kept_by_texts(model, checkpointing=checkpointing)
    width = model.config.get_text_config().hidden_size
    working = max(_WORKING_LAYERS * kept.in_layer(tokens), _logits(model))
    return _estimate(model, kept.of(tokens) + _rows(tokens, width) + working)


def in_stages(kept: Kept, group: Group, width: int, logits: int) -> float:
    """Bytes of a group whose prompt, chosen and one rejected response have graphs at the same time.

    Args:
        kept: What texts behind prefixes keep.
        group: Its longest rejected response counts.
        width: Numbers of a hidden state.
        logits: What the vocabulary head works with.
    """
    prompt, chosen, rejected = len(group.prompt), len(group.chosen), _rejected(group)
    graphs = kept.of(prompt) + kept.of(chosen, prompt) + kept.of(rejected, prompt)
    slopes = kept.cache * prompt
    # The head works before the way back of the last text begins.
    working = max(logits, *(_WORKING_LAYERS * kept.in_layer(n) for n in (prompt, chosen, rejected)))
    return graphs + slopes + _rows(chosen + rejected, width) + working


def in_pieces(kept: Kept, group: Group, width: int, logits: int, piece: int = PIECE) -> float:
    """The same with low memory: one piece has a graph, and of all texts keys and values remain."""
    prompt, chosen, rejected = len(group.prompt), len(group.chosen), _rejected(group)
    # A short rejected response keeps its graph while the head works, which needs no second cache.
    short = rejected <= piece
    remains = kept.cache * (2 * prompt + chosen + (0 if short else prompt + rejected))
    on_the_way = logits + (kept.of(rejected, prompt) if short else 0)
    for tokens, before in ((prompt, 0), (chosen, prompt), (rejected, prompt)):
        # The last piece of a text sees the most.
        size = math.ceil(tokens / max(1, math.ceil(tokens / piece)))
        seen = before + tokens - size
        graph = kept.of(size, seen) + kept.cache * seen + _WORKING_LAYERS * kept.in_layer(size, seen)
        on_the_way = max(on_the_way, graph)
    return remains + kept.cache * prompt + _rows(chosen + rejected, width) + on_the_way


def _rejected(group: Group) -> int:
    """Tokens of the longest rejected response."""
    return max(map(len, group.rejected), default=0)


def _rows(scored: int, width: int) -> int:
    """What the vocabulary head keeps for the way back of so many tokens."""
    return scored * width * _HEAD_ROWS * _FLOAT


def _logits(model: PreTrainedModel) -> int:
    """What the vocabulary head works with."""
    return int(CHUNK * model.config.get_text_config().vocab_size * _HEAD_COPIES * _FLOAT)


def _estimate(model: PreTrainedModel, held: float) -> Memory:
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in tensors}
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Memory(
        weights=sum(storage.nbytes() for storage in storages.values()),
        optimizer=trained * _NUMBERS_PER_WEIGHT * _FLOAT,
        activations=round(held * _GAPS),
    )
