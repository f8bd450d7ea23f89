"""The odds-ratio term: how much likelier the chosen response is than a rejected one, and how sure that is.

Shapes: G groups, R rejected responses. Natural logarithms.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

# Mean log-probabilities are held below this: the slope of the log odds grows like 1 / (1 − e^ℓ) without end.
LOGP_MAX = -1e-6
# A teacher sampled what was rejected too, so its liking must not outweigh what happened.
MOST_TEACHER_WEIGHT = 0.5
MOST_NOISE = 0.5


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − e^x) for x < 0, accurate at both ends.

    Both branches are given a harmless input where the other one counts: a gradient that is multiplied by zero
    must still be finite (0 · inf is not a number).
    """
    near = x > -math.log(2)
    by_expm1 = torch.log(-torch.expm1(torch.where(near, x, -0.5)))
    by_log1p = torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    return torch.where(near, by_expm1, by_log1p)


def log_odds(mean_logps: Tensor, *, logp_max: float = LOGP_MAX) -> Tensor:
    """ω(ℓ) = log(P / (1 − P)) of length-normalised response probabilities P = e^ℓ, any shape."""
    held = (mean_logps if mean_logps.dtype == torch.float64 else mean_logps.float()).clamp(max=logp_max)
    return held - log1mexp(held)


def odds_ratio_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    rejected_group: Tensor,
    *,
    logp_max: float = LOGP_MAX,
    soft_labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The odds-ratio loss of every rejected response against its group's chosen one.

    Args:
        chosen_logps: Mean log-probabilities of the chosen responses [G].
        rejected_logps: The same of the rejected responses [R].
        rejected_group: The group of each rejected response [R].
        logp_max: See `LOGP_MAX`.
        soft_labels: How sure it is that chosen beats rejected, in [0, 1] [R]; without them, certain.

    Returns:
        (losses [R] in nats, Δ = ω(ℓ+) − ω(ℓ−) [R]). With a soft label τ, the loss is least where Δ = logit τ
        and its slope is σ(Δ) − τ.
    """
    delta = log_odds(chosen_logps, logp_max=logp_max)[rejected_group] - log_odds(
        rejected_logps, logp_max=logp_max
    )
    losses = -functional.logsigmoid(delta)
    if soft_labels is not None:
        losses = soft_labels * losses - (1 - soft_labels) * functional.logsigmoid(-delta)
    return losses, delta


def certainty(noise: Tensor, teacher_delta: Tensor | None = None, teacher_weight: float = 0.0) -> Tensor:
    """τ = σ(logit(1 − ε) + α·Δᵀ), how sure it is that chosen beats rejected; never below a half.

    Args:
        noise: ε, the share of such pairs that are labelled the wrong way round, at most a half [R].
        teacher_delta: Δᵀ, the teacher's own log odds of chosen against rejected [R]; where it is not a
            number, nobody asked the teacher and ε alone counts.
        teacher_weight: α, how much the teacher's liking counts.

    Returns:
        [R] in [½, 1].
    """
    lean = torch.logit(1 - noise)
    if teacher_delta is not None:
        lean = lean + teacher_weight * torch.nan_to_num(teacher_delta, nan=0.0)
    return torch.sigmoid(lean).clamp(min=0.5)
