"""What a model makes of a few prompts, to see that another is the same model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dorpo.rendering import render_prompt, to_messages
from dorpo.tokens import StudentTokens

_PROBES = (
    ("Print the sum of the list.", "numbers = [1, 2, 3]\n"),
    ("Read the file names from the command line.", "import sys\n\nprint(open('a.txt').read())\n"),
    ("Say what it does.", ""),
)


def probes(tokens: StudentTokens) -> list[list[int]]:
    """The prompts as a student reads them."""
    return [tokens.prompt(to_messages(render_prompt(instruction, script))) for instruction, script in _PROBES]


@torch.no_grad()
def logits(model: Any, prompts: Sequence[list[int]]) -> list[torch.Tensor]:
    """Of every token of every prompt, each (tokens, vocabulary)."""
    model.eval()
    return [model(torch.tensor([ids]), use_cache=False).logits[0].float() for ids in prompts]


def largest_difference(some: Sequence[torch.Tensor], others: Sequence[torch.Tensor]) -> float:
    """Of one logit."""
    return max(float((a - b).abs().max()) for a, b in zip(some, others, strict=True))
