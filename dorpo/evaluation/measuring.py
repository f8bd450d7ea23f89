"""Counting, prompt by prompt, what a student makes of chosen and rejected responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dorpo.align import Kind
from dorpo.batches import Batch, Group, collate, to_device
from dorpo.evaluation.figures import Counts
from dorpo.forward import bare, head_scores, response_states
from dorpo.head import Head, head_of
from dorpo.loss import chunk_binary_kl

# Tokens whose logits over the whole vocabulary are held at once.
_CHUNK = 256


@torch.no_grad()
def measure(model: Any, groups: Sequence[Group]) -> list[Counts]:
    """Look at every group once, one at a time.

    Args:
        model: A causal language model, with adapters or without; left in the mode it was in.
        groups: At least one.
    """
    training = model.training
    model.eval()
    try:
        return [_count(model, group) for group in groups]
    finally:
        model.train(training)


def _count(model: Any, group: Group) -> Counts:
    student = bare(model)
    batch = to_device(collate([group]), next(model.parameters()).device)
    states = response_states(student, batch)
    kl, logps = head_scores(student, states, batch)
    means = [logps[batch["seq_ids"] == seq].double().mean().item() for seq in range(len(group.rejected) + 1)]
    kinds = batch["token_kind"]
    translated = kinds == Kind.ONE_TO_ONE
    chunks = chunk_binary_kl(logps, batch["chunk_ids"], batch["chunk_logps"])
    return Counts(
        pairs=len(group.rejected),
        won=sum(1.0 if means[0] > other else 0.5 * (means[0] == other) for other in means[1:]),
        chosen_tokens=len(group.chosen),
        chosen_logp=logps[kinds != Kind.NONE].double().sum().item(),
        scored=int((translated | (kinds == Kind.CHUNK)).sum().item()),
        kl=(kl[translated].double().sum() + chunks.double().sum()).item(),
        translated=int(translated.sum().item()),
        agreed=_agreed(states[translated], head_of(student), _favourites(batch)[translated]),
        cycle=group.cycle,
    )


def _favourites(batch: Batch) -> Tensor:
    """The teacher's most probable token, which stands first among its alternatives."""
    return batch["topk_ids"][:, 0]


def _agreed(states: Tensor, head: Head, favourites: Tensor) -> int:
    """How many of the tokens the student also finds the most probable."""
    agreed = 0
    for start in range(0, len(favourites), _CHUNK):
        part = slice(start, start + _CHUNK)
        agreed += int((head.logits(states[part]).argmax(-1) == favourites[part]).sum().item())
    return agreed
