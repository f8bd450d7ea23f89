"""The DORPO objective: pure functions over flat tensors, without a model.

    L_DORPO = L_KL(y+) + λ · L_OR                              Cserveni, "Precision Shaking and DORPO", 2024
    L_KL    = KL(teacher ‖ student) on the chosen response     forward, soft labels
    L_OR    = −log σ(ω(ℓ+) − ω(ℓ−))                            Hong et al., arXiv 2403.07691
    ω(ℓ)    = ℓ − log(1 − e^ℓ)                                 log odds
    ℓ(y)    = mean over the response's tokens of log q(y_t | x, y_<t)

A teacher reports its k best alternatives, not its whole distribution. The KL is therefore taken over k + 1
events, the alternatives and everything else: a lower bound of the full KL, equal to it when nothing is left
over, and the tightest bound that these numbers allow. A certain teacher (k = 1, p = 1) makes it the negative
log-likelihood, so hard labels need no code of their own.

Everything is float32 inside, or float64 where that comes in. Shapes: N response tokens, V vocabulary,
K alternatives, S responses, G groups (a prompt, its chosen and its rejected responses), M chunks. Logarithms
are natural: nats.
"""

from __future__ import annotations

import math

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional

from dorpo.align import Kind
from dorpo.batches import Batch

# Below this a teacher's missing mass is rounding noise, not a tail.
_LEAST_TAIL = 1e-6


@frozen
class LossOptions:
    """What the objective can be told.

    Attributes:
        beta: λ, the weight of the odds-ratio term.
        kd_alpha: Share of the KL in the first term; the rest is negative log-likelihood.
        logp_max: Mean log-probabilities are held below this in the odds ratio, whose gradient grows like
            1 / (1 − e^ℓ) without end.
    """

    beta: float = 0.1
    kd_alpha: float = 1.0
    logp_max: float = -1e-6


@frozen
class Metric:
    """A mean in the making: detached sum and count, so that batches of different size average correctly."""

    total: Tensor
    count: Tensor

    def plus(self, other: Metric) -> Metric:
        """Both together."""
        return Metric(self.total + other.total, self.count + other.count)

    def numbers(self) -> tuple[float, float]:
        """(sum, count), away from the device."""
        return float(self.total), float(self.count)


@frozen
class DORPOLoss:
    """The loss to go backward from, its two terms as detached means over groups, and what to report."""

    loss: Tensor
    kl: Tensor
    nll: Tensor
    or_loss: Tensor
    metrics: dict[str, Metric]


def topk_kl_and_logps(
    logits: Tensor, target: Tensor, topk_ids: Tensor, topk_logps: Tensor, topk_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """KL of the teacher's top alternatives plus tail, and the log-probability of the text, for every token.

    The tail's student mass is a log-sum-exp over the logits outside the alternatives, never 1 − Σq, which
    would cancel to nothing for a confident student and lose its gradient.

    Args:
        logits: Student logits [N, V].
        target: The text's ids [N].
        topk_ids: Teacher alternatives [N, K], distinct where valid.
        topk_logps: Their natural log-probabilities [N, K].
        topk_mask: Which are valid [N, K]; valid ones come first. A row without any has KL 0.

    Returns:
        (KL [N] in nats, log q(target) [N] in nats), float32.
    """
    logits = _wide(logits)
    total = logits.logsumexp(-1)
    logps = logits.gather(-1, target[:, None]).squeeze(-1) - total
    # Padding repeats the first alternative, so that masking out alternatives never hits another id.
    ids = torch.where(topk_mask, topk_ids, topk_ids[:, :1])
    everything = topk_mask.sum(-1) == logits.shape[-1]
    # Where nothing is outside, zeros keep the log-sum-exp and its gradient finite; `has_tail` drops it.
    fill = torch.where(everything, 0.0, -math.inf).to(logits.dtype)
    outside = logits.scatter(-1, ids, fill[:, None].expand(ids.shape)).logsumexp(-1)
    head_p, tail_p, has_tail = teacher_masses(topk_logps, topk_mask, everything)
    head = head_p * (topk_logps.masked_fill(~topk_mask, 0.0) - (logits.gather(-1, ids) - total[:, None]))
    tail = torch.where(has_tail, tail_p, 1.0) * (
        torch.where(has_tail, tail_p, 1.0).log() - torch.where(has_tail, outside - total, 0.0)
    )
    kl = head.sum(-1) + torch.where(has_tail, tail, 0.0)
    return torch.where(topk_mask.any(-1), kl, 0.0), logps


def teacher_masses(
    topk_logps: Tensor, topk_mask: Tensor, everything: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The teacher's events: probabilities [N, K], the tail's mass [N], and whether the tail counts [N].

    Args:
        topk_logps: Natural log-probabilities [N, K].
        topk_mask: Which are valid [N, K].
        everything: Rows whose alternatives are the whole vocabulary [N].
    """
    valid = _wide(topk_logps).masked_fill(~topk_mask, -math.inf)
    tail = (-torch.expm1(valid.logsumexp(-1).clamp(max=0.0))).clamp(min=0.0)
    return valid.exp(), tail, (tail > _LEAST_TAIL) & ~everything & topk_mask.any(-1)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − e^x) for x < 0, accurate at both ends.

    Both branches are given a harmless input where the other one counts: a gradient that is multiplied by zero
    must still be finite (0 · inf is not a number).
    """
    near = x > -math.log(2)
    by_expm1 = torch.log(-torch.expm1(torch.where(near, x, -0.5)))
    by_log1p = torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    return torch.where(near, by_expm1, by_log1p)


def chunk_binary_kl(
    logps: Tensor, chunk_ids: Tensor, teacher_chunk_logps: Tensor, *, logp_max: float = -1e-6
) -> Tensor:
    """KL of the two events "this chunk's text" and "another one", for chunks of several tokens.

    The k = 1 case of the tail-bucket KL with chunks for tokens, hence in the same unit; Minixhofer et al.,
    arXiv 2503.20083, use this divergence with a temperature.

    Args:
        logps: log q of the text's tokens [N].
        chunk_ids: The chunk of each token [N], -1 outside of chunks.
        teacher_chunk_logps: The teacher's log-probability of each chunk's text [M].
        logp_max: Both sides are held below this.

    Returns:
        Nats per chunk [M].
    """
    inside = chunk_ids >= 0
    size = teacher_chunk_logps.shape[0]
    student = _sums(logps[inside], chunk_ids[inside], size).clamp(max=logp_max)
    teacher = _wide(teacher_chunk_logps).clamp(max=logp_max)
    p = teacher.exp()
    return p * (teacher - student) + (1 - p) * (log1mexp(teacher) - log1mexp(student))


def log_odds(mean_logps: Tensor, *, logp_max: float = -1e-6) -> Tensor:
    """ω(ℓ) = log(P / (1 − P)) of length-normalised response probabilities P = e^ℓ, any shape."""
    held = _wide(mean_logps).clamp(max=logp_max)
    return held - log1mexp(held)


def odds_ratio_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    rejected_group: Tensor,
    *,
    logp_max: float = -1e-6,
    soft_labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The odds-ratio loss of every rejected response against its group's chosen one.

    Args:
        chosen_logps: Mean log-probabilities of the chosen responses [G].
        rejected_logps: The same of the rejected responses [R].
        rejected_group: The group of each rejected response [R].
        logp_max: See `LossOptions`.
        soft_labels: How sure it is that chosen beats rejected, in [0, 1] [R]; without them, certain.

    Returns:
        (losses [R] in nats, Δ = ω(ℓ+) − ω(ℓ−) [R]).
    """
    delta = log_odds(chosen_logps, logp_max=logp_max)[rejected_group] - log_odds(
        rejected_logps, logp_max=logp_max
    )
    losses = -functional.logsigmoid(delta)
    if soft_labels is not None:
        losses = soft_labels * losses - (1 - soft_labels) * functional.logsigmoid(-delta)
    return losses, delta


def dorpo_loss(
    kl: Tensor, logps: Tensor, batch: Batch, options: LossOptions, *, total_weight: Tensor | None = None
) -> DORPOLoss:
    """The objective over one batch of groups.

    A group's loss is its KL per chosen token plus λ times the mean odds-ratio loss of its rejected responses
    (nothing for a group without any), weighted with the number of its pairs: the mean over the dataset's
    rows, with every response computed once.

    Args:
        kl: Nats per token [N], from `topk_kl_and_logps`; 0 in chunks and rejected responses.
        logps: log q of every response token [N].
        batch: Which token belongs where, and the teacher's chunks.
        options: Weights and limits.
        total_weight: Sum of the group weights of the whole optimizer step, over all batches and devices. The
            loss is then this batch's part of it; without it, the batch stands for itself.
    """
    seq_ids, seq_group, is_chosen = batch["seq_ids"], batch["seq_group"], batch["seq_is_chosen"]
    weight = batch["group_weight"].float()
    groups = weight.shape[0]
    lengths = torch.bincount(seq_ids, minlength=seq_group.shape[0]).float()
    means = _sums(logps, seq_ids, seq_group.shape[0]) / lengths
    chosen_means = _sums(means[is_chosen], seq_group[is_chosen], groups)
    chosen_lengths = _sums(lengths[is_chosen], seq_group[is_chosen], groups)

    chunks = chunk_binary_kl(logps, batch["chunk_ids"], batch["chunk_logps"])
    distance = _sums(kl, seq_group[seq_ids], groups) + _sums(chunks, seq_group[batch["chunk_seq"]], groups)
    kd = distance / chosen_lengths
    rejected_group = seq_group[~is_chosen]
    pair_losses, delta = odds_ratio_loss(
        chosen_means, means[~is_chosen], rejected_group, logp_max=options.logp_max
    )
    pairs = torch.bincount(rejected_group, minlength=groups)
    odds = _sums(pair_losses, rejected_group, groups) / pairs.clamp(min=1)

    by_group = options.kd_alpha * kd - (1 - options.kd_alpha) * chosen_means + options.beta * odds
    loss = (weight * by_group).sum() / (weight.sum() if total_weight is None else total_weight)
    metrics = _metrics(batch, options, kd, chosen_means, odds[pairs > 0], means[~is_chosen], delta)
    return DORPOLoss(loss, kd.detach().mean(), -chosen_means.detach().mean(), odds.detach().mean(), metrics)


@torch.no_grad()
def _metrics(
    batch: Batch,
    options: LossOptions,
    kd: Tensor,
    chosen_means: Tensor,
    odds: Tensor,
    rejected_means: Tensor,
    delta: Tensor,
) -> dict[str, Metric]:
    """Names and signs are TRL's where it has them; the rest is ours."""
    rejected_group = batch["seq_group"][~batch["seq_is_chosen"]]
    paired = chosen_means[rejected_group]
    held = torch.maximum(paired, rejected_means) <= options.logp_max
    first_cycle = batch["group_cycle"] == 1
    labelled = batch["token_kind"] != Kind.NONE
    kinds = batch["token_kind"][labelled]
    soft = kinds == Kind.ONE_TO_ONE
    mass = batch["topk_logps"].exp().masked_fill(~batch["topk_mask"], 0.0).sum(-1)[labelled]
    values = {
        "kl": kd,
        "nll": -chosen_means,
        "or_loss": odds,
        "logps/chosen": chosen_means,
        "logps/rejected": rejected_means,
        "rewards/chosen": options.beta * chosen_means,
        "rewards/rejected": options.beta * rejected_means,
        "rewards/margins": options.beta * (paired - rejected_means),
        "rewards/accuracies": (paired > rejected_means).float() + 0.5 * (paired == rejected_means).float(),
        "log_odds_ratio": functional.logsigmoid(delta),
        "log_odds_chosen": delta,
        # By how much 1 / (1 − e^ℓ) multiplies λ: text that is mostly copied makes this large.
        "or/amplification": 1 / -torch.expm1(paired.clamp(max=options.logp_max)),
        "or/active_frac": held.float(),
        "kd/teacher_mass": mass[soft].clamp(max=1.0),
        "kd/one_to_one_frac": soft.float(),
        "kd/chunk_frac": (kinds == Kind.CHUNK).float(),
        "kd/hard_frac": (kinds == Kind.HARD).float(),
        "kl/cycle1": kd[first_cycle],
        "kl/cycle>1": kd[~first_cycle],
    }
    return {
        name: Metric(value.detach().float().sum(), torch.tensor(value.numel(), device=value.device))
        for name, value in values.items()
    }


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    values = _wide(values)
    return values.new_zeros(size).index_add(0, index, values)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
