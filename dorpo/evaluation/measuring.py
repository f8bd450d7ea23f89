"""Counting, prompt by prompt, what a student makes of chosen and rejected responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dorpo import processes
from dorpo.align import Kind
from dorpo.batches import Batch, Group, Reason, collate, to_device
from dorpo.evaluation.figures import Counts, Pair
from dorpo.forward import bare, head_scores, response_states
from dorpo.head import Head, head_of
from dorpo.loss import teacher_distance

# Tokens whose logits over the whole vocabulary are held at once.
_CHUNK = 256


@torch.no_grad()
def measure(model: Any, groups: Sequence[Group]) -> list[Counts]:
    """Look at every group once, one at a time. Several processes share the work, so all must call it.

    Args:
        model: A causal language model, with adapters or without; left in the mode it was in.
        groups: At least one.

    Returns:
        As many, in their order, in every process.
    """
    training = model.training
    model.eval()
    try:
        mine = [_count(model, group) for group in groups[processes.rank() :: processes.count()]]
    finally:
        model.train(training)
    parts = processes.gathered(mine)
    return [parts[n % len(parts)][n // len(parts)] for n in range(len(groups))]


def _count(model: Any, group: Group) -> Counts:
    student = bare(model)
    batch = to_device(collate([group]), next(model.parameters()).device)
    states = response_states(student, batch)
    kl, logps = head_scores(student, states, batch)
    own, *others = (
        logps[batch["seq_ids"] == seq].double().mean().item() for seq in range(len(group.rejected) + 1)
    )
    reasons = group.reasons or (Reason.OTHER,) * len(others)
    kinds = batch["token_kind"]
    translated = kinds == Kind.ONE_TO_ONE
    nats, scored = teacher_distance(kl, logps, batch)
    return Counts(
        pairs=[
            Pair(reason.name.lower(), 1.0 if own > other else 0.5 * (own == other))
            for reason, other in zip(reasons, others, strict=True)
        ],
        chosen_tokens=len(group.chosen),
        chosen_logp=logps[kinds != Kind.NONE].double().sum().item(),
        scored=int(scored.item()),
        kl=nats.item(),
        translated=int(translated.sum().item()),
        agreed=_agreed(states[translated], head_of(student), _favourites(batch)[translated]),
        ending=logps[len(group.chosen) - 1].exp().item(),  # the end of the turn is the last chosen token
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
