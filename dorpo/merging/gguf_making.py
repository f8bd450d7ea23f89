"""The GGUF file of a merged student: out of the one that its student came from, or by llama.cpp's converter.

What is written here is read again and compared with the merged student before anybody gets to see it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from transformers import AutoModelForCausalLM

from dorpo.merging import gguf_file, gguf_writing
from dorpo.merging.gguf_file import ConversionError, Wish
from dorpo.merging.gguf_layout import LayoutError
from dorpo.merging.probing import largest_difference, logits

# Of the logits' own spread: rounding to 16 bits moves them by a thousandth of it, to 8 bits by a twentieth,
# and a weight in a wrong place by all of it.
_TOLERANCE = {"f16": 0.01, "q8_0": 0.2}


@frozen
class Made:
    """A GGUF file.

    Attributes:
        name: Of the file in its folder.
        difference: Largest difference of a logit from the merged model's; None where nobody looked.
    """

    name: str
    difference: float | None = None


def make(folder: Path, base: Path | None, wish: Wish, prompts: list[list[int]], *, name: str) -> Made | None:
    """Make the file in a merged student's folder; None where neither way is open.

    Args:
        folder: The model's.
        base: The GGUF file that its student came from; None where it came from none.
        wish: What is wanted.
        prompts: What both are asked, to compare them.
        name: What the model is called.

    Raises:
        ConversionError: There is no file, or it holds another model.
    """
    file = folder / gguf_file.name_in(name, wish.kind)
    if base is not None and not wish.insist and gguf_writing.can_write(base):
        try:
            gguf_writing.write(folder, base, file, name=name, kind=wish.kind)
        except LayoutError as error:
            raise ConversionError(f"{error} Pass --no-gguf, or --llama-cpp.") from error
        return Made(file.name, _compared(folder, file, prompts, _TOLERANCE[wish.kind]))
    if wish.converter is not None:
        gguf_file.convert(wish.converter, folder, file, wish.kind)
        return Made(file.name)
    return None


def _compared(folder: Path, file: Path, prompts: list[list[int]], tolerance: float) -> float:
    expected = logits(_load(folder), prompts)
    found = logits(_load(folder, gguf_file=file.name), prompts)
    off, spread = torch.cat(found) - torch.cat(expected), torch.cat(expected)
    share = math.sqrt(float(off.square().mean() / spread.var()))
    if not share <= tolerance:
        raise ConversionError(
            f"The GGUF file is not the merged student (its logits are off by {share:.2g} of their spread): "
            "pass --no-gguf, or --llama-cpp."
        )
    return largest_difference(found, expected)


def _load(folder: Path, **options: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True, **options)
