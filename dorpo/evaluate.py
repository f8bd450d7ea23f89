"""How good a student is on given rows, in three numbers that can be compared before and after a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from dorpo import processes
from dorpo.align import Kind
from dorpo.batches import Batch, Group, collate, to_device
from dorpo.forward import token_scores
from dorpo.loss import chunk_binary_kl


@frozen
class Evaluation:
    """What a student makes of the rows.

    Attributes:
        pair_accuracy: Share of the pairs in which the chosen response is more probable per token than the
            rejected one, ties as a half; None without pairs.
        chosen_perplexity: exp of the mean negative log-likelihood of a chosen token.
        kl: KL to the teacher in nats per token, over the tokens a teacher scored; None without any.
    """

    pair_accuracy: float | None
    chosen_perplexity: float
    kl: float | None


@torch.no_grad()
def evaluate(model: Any, groups: Sequence[Group]) -> Evaluation:
    """Look at every group once, one at a time. Several processes share the work, so all must call it.

    Args:
        model: A causal language model, with adapters or without; left in the mode it was in.
        groups: At least one.
    """
    training = model.training
    model.eval()
    try:
        mine = [_count(model, group) for group in groups[processes.rank() :: processes.count()]]
    finally:
        model.train(training)
    counted = torch.stack(list(chain(*processes.gathered(mine)))).sum(0)
    pairs, won, chosen_tokens, negative_logps, scored, distance = counted.tolist()
    return Evaluation(
        pair_accuracy=won / pairs if pairs else None,
        chosen_perplexity=math.exp(min(negative_logps / chosen_tokens, 700.0)),
        kl=distance / scored if scored else None,
    )


def _count(model: Any, group: Group) -> Tensor:
    """Sums over a group: pairs, pairs won, chosen tokens, their -log q, tokens with a teacher, their KL."""
    device = next(model.parameters()).device
    batch = to_device(collate([group]), device)
    kl, logps = token_scores(model, batch)
    means = torch.stack([logps[batch["seq_ids"] == seq].mean() for seq in range(len(group.rejected) + 1)])
    won = (means[0] > means[1:]).sum() + 0.5 * (means[0] == means[1:]).sum()
    chosen = logps[batch["token_kind"] != Kind.NONE]
    one_to_one = batch["token_kind"] == Kind.ONE_TO_ONE
    scored = one_to_one.sum() + (batch["token_kind"] == Kind.CHUNK).sum()
    distance = kl[one_to_one].sum() + _chunks(logps, batch)
    counts = [float(len(group.rejected)), won.item(), float(chosen.numel())]
    sums = [*counts, -chosen.sum().item(), scored.item(), distance.item()]
    return torch.tensor(sums, dtype=torch.float64)


def _chunks(logps: Tensor, batch: Batch) -> Tensor:
    return chunk_binary_kl(logps, batch["chunk_ids"], batch["chunk_logps"]).sum()
