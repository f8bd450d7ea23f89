"""The two numbers of `dorpo.loss.topk_kl_and_logps` without logits of all tokens at once.

The vocabulary head makes the largest tensor of a training, tokens x vocabulary, and its float32 copies. Here
a few tokens at a time pass the head, only a few numbers a token are kept, and the backward pass computes the
same logits again. The gradients with respect to the logits z of a token, for a = dL/dKL and c = dL/dlog q(y):

    dL/dz = q (a (1 - p_r / q_r) - c)                      everywhere
            + a (q p_r / q_r - p)                          added at the teacher's alternatives
            + c                                            added at the text's own token

with student probabilities q, teacher probabilities p, and p_r, q_r what both leave to everything else. Where
the tail does not count, p_r is 0 and the sum of the p stands for 1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from dorpo.head import Head
from dorpo.loss import teacher_masses

# Tokens at once: enough to keep a GPU busy, little enough to stay far below the activations of the layers.
CHUNK = 128


def chunked_topk_kl_and_logps(
    hidden: Tensor,
    head: Head,
    target: Tensor,
    topk_ids: Tensor,
    topk_logps: Tensor,
    topk_mask: Tensor,
    *,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """KL of the teacher's top alternatives plus tail, and the log-probability of the text, for every token.

    Args:
        hidden: States that predict the tokens [N, H].
        head: The vocabulary head; gradients reach its weight and bias only if they ask for them.
        target: The text's ids [N].
        topk_ids: Teacher alternatives [N, K].
        topk_logps: Their natural log-probabilities [N, K].
        topk_mask: Which are valid [N, K], valid ones first.
        chunk: Tokens that pass the head at once.

    Returns:
        (KL [N] in nats, log q(target) [N] in nats), float32.
    """
    result: tuple[Tensor, Tensor] = _Chunked.apply(  # type: ignore[no-untyped-call]  # of torch
        hidden, head.weight, head.bias, head, target, topk_ids, topk_logps, topk_mask, chunk
    )
    return result


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        head: Head,
        target: Tensor,
        topk_ids: Tensor,
        topk_logps: Tensor,
        topk_mask: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor]:
        ids = torch.where(topk_mask, topk_ids, topk_ids[:, :1])
        p, tail_p, has_tail = teacher_masses(topk_logps, topk_mask, topk_mask.sum(-1) == weight.shape[0])
        known = topk_logps.float().masked_fill(~topk_mask, 0.0)
        kl, logps, total, outside = hidden.new_empty(4, hidden.shape[0], dtype=torch.float32)
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            logits = head.logits(hidden[part]).float()
            total[part] = logits.logsumexp(-1)
            logps[part] = logits.gather(-1, target[part, None]).squeeze(-1) - total[part]
            alternatives = logits.gather(-1, ids[part]) - total[part, None]
            outside[part] = logits.scatter_(-1, ids[part], -math.inf).logsumexp(-1)
            kl[part] = (p[part] * (known[part] - alternatives)).sum(-1)
        # Outside of a whole vocabulary is nothing, and its logarithm counts nowhere.
        log_q_tail = torch.where(has_tail, outside - total, 0.0)
        tail_p = torch.where(has_tail, tail_p, 0.0)
        kl = kl + tail_p * (tail_p.clamp(min=1e-30).log() - log_q_tail)
        ctx.save_for_backward(
            hidden, weight, bias, target, ids, topk_mask, p, tail_p, total, tail_p / log_q_tail.exp()
        )
        ctx.head, ctx.chunk = head, chunk
        return torch.where(topk_mask.any(-1), kl, 0.0), logps

    @staticmethod
    def backward(ctx: Any, kl_slope: Tensor, logp_slope: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, target, ids, mask, p, tail_p, total, ratio = ctx.saved_tensors
        wanted = (hidden, weight, bias)
        # Sums over many chunks in half precision would bias a training.
        slopes = [
            torch.zeros_like(tensor, dtype=torch.float32) if needed else None
            for tensor, needed in zip(wanted, ctx.needs_input_grad[:3], strict=True)
        ]
        kl_slope = torch.where(mask.any(-1), kl_slope, 0.0)
        everywhere = kl_slope * (p.sum(-1) + tail_p - ratio) - logp_slope
        for start in range(0, hidden.shape[0], ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = ctx.head.logits(hidden[part]).float()
            through_head = ctx.head.slope(logits)
            slope = logits.sub_(total[part, None]).exp_()
            here = kl_slope[part, None] * (slope.gather(-1, ids[part]) * ratio[part, None] - p[part])
            slope *= everywhere[part, None]
            slope.scatter_add_(-1, ids[part], here.masked_fill(~mask[part], 0.0))
            slope.scatter_add_(-1, target[part, None], logp_slope[part, None])
            _add(slopes, (slope * through_head).to(weight.dtype), hidden[part].to(weight.dtype), weight, part)
        return (
            *(None if s is None else s.to(tensor.dtype) for s, tensor in zip(slopes, wanted, strict=True)),
            *[None] * 6,
        )


def _add(slopes: list[Tensor | None], slope: Tensor, hidden: Tensor, weight: Tensor, part: slice) -> None:
    """Pass the slope of some tokens' logits on to hidden states, weight and bias, where wanted."""
    of_hidden, of_weight, of_bias = slopes
    if of_hidden is not None:
        of_hidden[part] = (slope @ weight).float()
    if of_weight is not None:
        of_weight += (slope.t() @ hidden).float()
    if of_bias is not None:
        of_bias += slope.float().sum(0)
