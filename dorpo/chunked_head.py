"""The two numbers of `dorpo.loss.topk_kl_and_logps` without logits of all tokens at once.

The vocabulary head makes the largest tensor of a training, tokens x vocabulary, and its float32 copies. Here
a few tokens at a time pass the head. With a = dL/dKL and c = dL/dlog q(y) of a token, the slope at its logits
z is

    dL/dz = q (a (1 - p_r / q_r) - c)                      everywhere
            + a (q p_r / q_r - p)                          added at the teacher's alternatives
            + c                                            added at the text's own token

with student probabilities q, teacher probabilities p, and p_r, q_r what both leave to everything else. (Where
the tail does not count, p_r is 0 and the sum of the p stands for 1.) All of it is linear in a and c, so what
reaches the hidden state is put together from three vectors that the forward pass can already compute: the
mean of the weight's rows under q, their sum under the second line, and the text's own row. The backward pass
then costs nothing; only a head that is itself trained has its logits computed again.
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
        tail_p = torch.where(has_tail, tail_p, 0.0)
        known = topk_logps.float().masked_fill(~topk_mask, 0.0)
        kl, logps, total, ratio = hidden.new_empty(4, hidden.shape[0], dtype=torch.float32)
        rows = hidden.new_empty(3 if ctx.needs_input_grad[0] else 0, *hidden.shape, dtype=torch.float32)
        for start in range(0, hidden.shape[0], chunk):
            part = slice(start, start + chunk)
            logits = head.logits(hidden[part]).float()
            total[part] = logits.logsumexp(-1)
            logps[part] = logits.gather(-1, target[part, None]).squeeze(-1) - total[part]
            alternatives = logits.gather(-1, ids[part])
            outside = logits.scatter_(-1, ids[part], -math.inf).logsumexp(-1)
            logits.scatter_(-1, ids[part], alternatives)
            # Outside of a whole vocabulary is nothing, and its logarithm counts nowhere.
            log_q_tail = torch.where(has_tail[part], outside - total[part], 0.0)
            ratio[part] = tail_p[part] / log_q_tail.exp()
            kl[part] = (p[part] * (known[part] - alternatives + total[part, None])).sum(-1)
            kl[part] += tail_p[part] * (tail_p[part].clamp(min=1e-30).log() - log_q_tail)
            if len(rows):
                at = (target[part], ids[part], topk_mask[part], p[part], ratio[part])
                rows[:, part] = _rows(logits, total[part], head, *at)
        ctx.save_for_backward(hidden, weight, bias, target, ids, topk_mask, p, tail_p, total, ratio, rows)
        ctx.head, ctx.chunk = head, chunk
        return torch.where(topk_mask.any(-1), kl, 0.0), logps

    @staticmethod
    def backward(ctx: Any, kl_slope: Tensor, logp_slope: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, _, _, mask, p, tail_p, _, ratio, rows = ctx.saved_tensors
        kl_slope = torch.where(mask.any(-1), kl_slope, 0.0)
        everywhere = kl_slope * (p.sum(-1) + tail_p - ratio) - logp_slope
        of_hidden = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            factors = torch.stack([everywhere, kl_slope, logp_slope])
            of_hidden = (factors[:, :, None] * rows).sum(0).to(hidden.dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            of_weight, of_bias = _head_slopes(ctx, everywhere, kl_slope, logp_slope)
            of_weight = of_weight.to(weight.dtype)
            of_bias = None if bias is None else of_bias.to(bias.dtype)
        return of_hidden, of_weight, of_bias, *[None] * 6


def _rows(
    logits: Tensor,
    total: Tensor,
    head: Head,
    target: Tensor,
    ids: Tensor,
    mask: Tensor,
    p: Tensor,
    ratio: Tensor,
) -> Tensor:
    """What a token's slopes are made of: weight rows under q, at the alternatives, and of the text [3, n, H].

    Overwrites the logits.
    """
    through = head.slope(logits)
    at_ids, at_target = through, through
    if isinstance(through, Tensor):
        at_ids, at_target = through.gather(-1, ids), through.gather(-1, target[:, None])
    q = logits.sub_(total[:, None]).exp_()
    factors = ((q.gather(-1, ids) * ratio[:, None] - p) * at_ids).masked_fill(~mask, 0.0)
    weight = head.weight
    return torch.stack(
        [
            (q.mul_(through).to(weight.dtype) @ weight).float(),
            torch.einsum("nk,nkh->nh", factors, weight[ids].float()),
            weight[target].float() * at_target,
        ]
    )


def _head_slopes(ctx: Any, everywhere: Tensor, kl_slope: Tensor, logp_slope: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes of a trained head's weight and bias, summed in float32: half precision would bias them."""
    hidden, weight, _, target, ids, mask, p, _, total, ratio, _ = ctx.saved_tensors
    of_weight = torch.zeros_like(weight, dtype=torch.float32)
    of_bias = of_weight.new_zeros(weight.shape[0])
    for start in range(0, hidden.shape[0], ctx.chunk):
        part = slice(start, start + ctx.chunk)
        logits = ctx.head.logits(hidden[part]).float()
        through = ctx.head.slope(logits)
        slope = logits.sub_(total[part, None]).exp_()
        here = kl_slope[part, None] * (slope.gather(-1, ids[part]) * ratio[part, None] - p[part])
        slope *= everywhere[part, None]
        slope.scatter_add_(-1, ids[part], here.masked_fill(~mask[part], 0.0))
        slope.scatter_add_(-1, target[part, None], logp_slope[part, None])
        slope = (slope * through).to(weight.dtype)
        of_weight += (slope.t() @ hidden[part].to(weight.dtype)).float()
        of_bias += slope.float().sum(0)
    return of_weight, of_bias
