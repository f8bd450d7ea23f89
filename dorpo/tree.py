"""Hidden states of the response tokens, with all groups of a batch in one row.

A group is a tree: its prompt is the trunk, and what grows from it sees what it grows from and itself. A mask
says so, and positions go on in every branch where the one below it ends, so the numbers and gradients are
those of `dorpo.forward.separate_states`. Unlike a cache, a mask survives gradient checkpointing.

             prompt   chosen   rejected        ← keys
    prompt     ◣
    chosen     ■        ◣
    rejected   ■                  ◣

Segments stand depth first, so what may see a token is one run of places: from its own up to where all that
continues its segment ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import PreTrainedModel

from dorpo.batches import Batch
from dorpo.reading import Way, layer_kinds

# FlexAttention works in blocks of so many tokens.
_BLOCK = 128

Mask = Tensor | BlockMask


@contextmanager
def attention_of(way: Way, model: PreTrainedModel) -> Iterator[None]:
    """FlexAttention in the model, while this lasts, if that is the way; single texts are faster without."""
    before = model.config._attn_implementation
    if way is Way.FLEX:
        model.set_attn_implementation("flex_attention")
    try:
        yield
    finally:
        if way is Way.FLEX:
            model.set_attn_implementation(before)


@frozen(eq=False)
class Forest:
    """The groups of a batch in one row: where every token stands, and until where it is seen, [L] each."""

    position: Tensor
    until: Tensor

    def sees(self, query: Tensor, key: Tensor, window: int | None = None) -> Tensor:
        """Whether tokens see others, by their indices in the row; shapes broadcast.

        Args:
            query: Who looks.
            key: What is looked at.
            window: How many positions back a sliding window reaches, the token's own included.
        """
        sees = (key <= query) & (query < self.until[key])
        if window is not None:
            sees = sees & (self.position[query] - self.position[key] < window)
        return sees

    def padded(self) -> Forest:
        """The same, filled up to whole blocks with tokens that no other sees."""
        missing = -self.until.shape[0] % _BLOCK
        size = self.until.shape[0] + missing
        return Forest(
            functional.pad(self.position, (0, missing)),
            functional.pad(self.until, (0, missing), value=size),
        )


def tree_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """What `dorpo.forward.separate_states` computes, [N, H], from one row of distinct tokens.

    With FlexAttention, only values can be computed on a CPU: it has a backward pass on CUDA alone.
    """
    forest = Forest(batch["position_ids"], batch["until"])
    if model.config._attn_implementation == "flex_attention":
        forest = forest.padded()
    ids = functional.pad(batch["input_ids"], (0, forest.position.shape[0] - batch["input_ids"].shape[0]))
    decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]  # of transformers
    states: Tensor = decoder(
        input_ids=ids[None],
        position_ids=forest.position[None],
        attention_mask=layer_masks(model, forest),
        use_cache=False,
    ).last_hidden_state
    return states[0, batch["source"]]


def layer_masks(model: PreTrainedModel, forest: Forest) -> Mask | dict[str, Mask]:
    """The mask of a model whose layers are all of one kind, or one for each kind.

    One mask for layers of different kinds would undo the windows of those that have them.
    """
    config: Any = model.config.get_text_config()
    windows = {"full_attention": None, "sliding_attention": getattr(config, "sliding_window", None)}
    attention = model.config._attn_implementation
    masks = {
        kind: _mask(forest, windows[kind], attention, model.dtype)
        for kind in dict.fromkeys(layer_kinds(model))
    }
    return next(iter(masks.values())) if len(masks) == 1 else masks


def _mask(forest: Forest, window: int | None, attention: str, dtype: torch.dtype) -> Mask:
    size, device = forest.until.shape[0], forest.until.device
    if attention == "flex_attention":
        return create_block_mask(
            lambda _batch, _head, query, key: forest.sees(query, key, window),
            B=None,
            H=None,
            Q_LEN=size,
            KV_LEN=size,
            device=str(device),
        )
    places = torch.arange(size, device=device)
    sees = forest.sees(places[:, None], places[None, :], window)[None, None]
    if attention == "sdpa":
        return sees
    # Eager attention adds its mask: booleans would count as 0 and 1.
    return torch.zeros(sees.shape, dtype=dtype, device=device).masked_fill(~sees, torch.finfo(dtype).min)
