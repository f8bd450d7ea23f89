"""Where a transformers weight stands in a GGUF file, and how it is laid out there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from attrs import frozen
from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

Array = np.ndarray[Any, np.dtype[Any]]


class LayoutError(Exception):
    """A model cannot be laid out as its GGUF file is; the message says why, in one sentence."""


@frozen
class Shape:
    """What a file's metadata say of its model.

    Attributes:
        architecture: GGUF's name of it.
        layers: How many blocks it has.
        heads: Attention heads of each.
        kv_heads: Of them, those with keys and values of their own.
    """

    architecture: str
    layers: int
    heads: int
    kv_heads: int


def interleaved(weight: Array, heads: int) -> Array:
    """The rows of a query or key projection as llama.cpp's rotary embedding of Llama models wants them.

    transformers rotates the first half of a head's rows against the second, llama.cpp each even row against
    the odd one after it.

    Args:
        weight: (heads · size, …), or a bias without the further axes.
        heads: How many there are in it.
    """
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _as_llama(name: str, weight: Array, shape: Shape) -> Array:
    if ".attn_q." in name:
        return interleaved(weight, shape.heads)
    return interleaved(weight, shape.kv_heads) if ".attn_k." in name else weight


def _as_it_is(name: str, weight: Array, shape: Shape) -> Array:  # noqa: ARG001 - one signature for all
    return weight


def _as_gemma(name: str, weight: Array, shape: Shape) -> Array:  # noqa: ARG001 - one signature for all
    """Where transformers adds one to a norm's weight as it computes, the file holds the sum."""
    return weight + np.float32(1) if name.endswith("norm.weight") else weight


# Those whose way back is known; what transformers reads in another way is llama.cpp's converter's to write.
_LAYOUTS: Mapping[str, Callable[[str, Array, Shape], Array]] = {
    "llama": _as_llama,
    "qwen2": _as_it_is,
    "qwen3": _as_it_is,
    "gemma3": _as_gemma,
}


def known(architecture: str) -> bool:
    """Whether weights of this architecture can be laid out here."""
    return architecture in _LAYOUTS


def laid_out(name: str, weight: Array, shape: Shape) -> Array:
    """A weight of transformers as the file holds it under this name."""
    return _LAYOUTS[shape.architecture](name, weight, shape)


def places(names: Iterable[str], shape: Shape) -> dict[str, str]:
    """From the file's names to those of transformers.

    Args:
        names: Of the model's weights, as transformers has them.
        shape: The model's.

    Raises:
        LayoutError: A weight has no place in such a file.
    """
    architecture = next(key for key, name in MODEL_ARCH_NAMES.items() if name == shape.architecture)
    table = get_tensor_name_map(architecture, shape.layers)
    found = {}
    for name in names:
        place = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise LayoutError(f"There is no place for {name} in a GGUF file of a {shape.architecture} model.")
        found[place] = name
    return found
