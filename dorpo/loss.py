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

from dorpo.align import Kind
from dorpo.batches import Batch, Reason
from dorpo.metrics import Metric, Terms, metrics_of
from dorpo.odds import LOGP_MAX, certainty, log1mexp, log_odds, odds_ratio_loss

# Below this a teacher's missing mass is rounding noise, not a tail.
_LEAST_TAIL = 1e-6


@frozen
class LossOptions:
    """What the objective can be told; `dorpo.configuration.DORPOConfig` checks it.

    Attributes:
        beta: λ, the weight of the odds-ratio term.
        kd_alpha: Share of the KL in the first term; the rest is negative log-likelihood.
        logp_max: Mean log-probabilities are held below this in the odds ratio, whose gradient grows like
            1 / (1 − e^ℓ) without end.
        soft_label: How sure a pair is: certain ("none"), but for the noise of its reason ("smooth"), or
            leaning as the teacher's log-probabilities do ("teacher").
        label_noise: ε of every `Reason`, in its order.
        teacher_weight: α, how much the teacher leans.
        tokens: What the odds ratio compares: "all" tokens, or those that differ within a pair ("diff").
        group_weight: Whether every "row" counts the same, or every "prompt".
        chunk_kd: What is learned from a chunk of several tokens: its probability ("binary"), the same at a
            temperature ("alm"), or its text as a hard label ("off").
        alm_temperature: Of "alm".
    """

    beta: float = 0.1
    kd_alpha: float = 1.0
    logp_max: float = LOGP_MAX
    soft_label: str = "none"
    label_noise: tuple[float, ...] = (0.0,) * len(Reason)
    teacher_weight: float = 0.0
    tokens: str = "all"
    group_weight: str = "row"
    chunk_kd: str = "binary"
    alm_temperature: float = 100.0

    def weight_of(self, pairs: float) -> float:
        """The weight of a group with so many rejected responses, one without any counted as one."""
        return pairs if self.group_weight == "row" else 1.0


@frozen
class DORPOLoss:
    """The loss to go backward from, what it is made of as detached means over groups, and what to report.

    `kd` is the distance to the teacher with hard labels in it; the metric `kl` is without them.
    """

    loss: Tensor
    kd: Tensor
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


def chunk_binary_kl(
    logps: Tensor,
    chunk_ids: Tensor,
    teacher_chunk_logps: Tensor,
    *,
    logp_max: float = LOGP_MAX,
    temperature: float = 1.0,
) -> Tensor:
    """KL of the two events "this chunk's text" and "another one", for chunks of several tokens.

    The k = 1 case of the tail-bucket KL with chunks for tokens, hence in the same unit. Minixhofer et al.,
    arXiv 2503.20083, take both probabilities to the power 1 / temperature; here the result is multiplied with
    the temperature, so that its slope keeps its size.

    Args:
        logps: log q of the text's tokens [N].
        chunk_ids: The chunk of each token [N], -1 outside of chunks.
        teacher_chunk_logps: The teacher's log-probability of each chunk's text [M].
        logp_max: Both sides are held below this.
        temperature: 1 compares the probabilities themselves.

    Returns:
        Nats per chunk [M].
    """
    inside = chunk_ids >= 0
    size = teacher_chunk_logps.shape[0]
    student = _sums(logps[inside], chunk_ids[inside], size).clamp(max=logp_max) / temperature
    teacher = _wide(teacher_chunk_logps).clamp(max=logp_max) / temperature
    p = teacher.exp()
    kl = p * (teacher - student) + (1 - p) * (log1mexp(teacher) - log1mexp(student))
    return temperature * kl


def dorpo_loss(
    kl: Tensor, logps: Tensor, batch: Batch, options: LossOptions, *, total_weight: Tensor | None = None
) -> DORPOLoss:
    """The objective over one batch of groups.

    A group's loss is its KL per chosen token plus λ times the mean odds-ratio loss of its rejected responses
    (nothing for a group without any), weighted with the number of its pairs: the mean over the dataset's
    rows, with every response computed once. The slope at a rejected response depends on no other one.

    Args:
        kl: Nats per token [N], from `topk_kl_and_logps`; 0 in chunks and rejected responses.
        logps: log q of every response token [N].
        batch: Which token belongs where, and the teacher's chunks.
        options: Weights and limits.
        total_weight: Sum of the group weights of the whole optimizer step, over all batches and devices. The
            loss is then this batch's part of it; without it, the batch stands for itself.
    """
    seq_ids, seq_group, is_chosen = batch["seq_ids"], batch["seq_group"], batch["seq_is_chosen"]
    pairs = batch["group_weight"].float()
    weight = pairs if options.group_weight == "row" else torch.ones_like(pairs)
    groups = weight.shape[0]
    lengths = torch.bincount(seq_ids, minlength=seq_group.shape[0]).float()
    means = _sums(logps, seq_ids, seq_group.shape[0]) / lengths
    chosen_means = _sums(means[is_chosen], seq_group[is_chosen], groups)
    chosen_lengths = _sums(lengths[is_chosen], seq_group[is_chosen], groups)

    distance = _sums(kl, seq_group[seq_ids], groups) + _chunk_distance(logps, batch, options)
    kd = distance / chosen_lengths
    rejected_group = seq_group[~is_chosen]
    better, worse = _compared(logps, means, chosen_means, batch, options)
    pair_losses, delta = odds_ratio_loss(
        better,
        worse,
        torch.arange(worse.shape[0], device=worse.device),
        logp_max=options.logp_max,
        soft_labels=_soft_labels(batch, options),
    )
    rejected = torch.bincount(rejected_group, minlength=groups)
    odds = _sums(pair_losses, rejected_group, groups) / rejected.clamp(min=1)

    first = options.kd_alpha * kd - (1 - options.kd_alpha) * chosen_means
    by_group = first + options.beta * odds
    loss = (weight * by_group).sum() / (weight.sum() if total_weight is None else total_weight)
    nats, scored = teacher_distance(kl, logps, batch)
    terms = Terms(
        first, nats, scored, odds[rejected > 0], chosen_means, means[~is_chosen], better, worse, delta
    )
    metrics = metrics_of(terms, batch, beta=options.beta, logp_max=options.logp_max)
    return DORPOLoss(loss, kd.detach().mean(), -chosen_means.detach().mean(), odds.detach().mean(), metrics)


@torch.no_grad()
def teacher_distance(kl: Tensor, logps: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """KL to the teacher over what it scored: the one number to follow before, during and after a training.

    Hard labels are no part of it, and chunks have no temperature, whatever the objective makes of them.

    Args:
        kl: See `dorpo_loss`.
        logps: See `dorpo_loss`.
        batch: Which token belongs where.

    Returns:
        (nats, tokens that they are the sum over), both [G].
    """
    kinds, seq_group = batch["token_kind"], batch["seq_group"]
    groups, of_token = batch["group_weight"].shape[0], seq_group[batch["seq_ids"]]
    translated = kinds == Kind.ONE_TO_ONE
    chunks = chunk_binary_kl(logps, batch["chunk_ids"], batch["chunk_logps"])
    nats = _sums(kl[translated], of_token[translated], groups)
    nats += _sums(chunks, seq_group[batch["chunk_seq"]], groups)
    return nats, torch.bincount(of_token[translated | (kinds == Kind.CHUNK)], minlength=groups)


def _chunk_distance(logps: Tensor, batch: Batch, options: LossOptions) -> Tensor:
    """What the chunks of each group add to its distance [G]."""
    groups, seq_group = batch["group_weight"].shape[0], batch["seq_group"]
    if options.chunk_kd == "off":
        inside = batch["chunk_ids"] >= 0
        return -_sums(logps[inside], seq_group[batch["seq_ids"][inside]], groups)
    temperature = options.alm_temperature if options.chunk_kd == "alm" else 1.0
    chunks = chunk_binary_kl(logps, batch["chunk_ids"], batch["chunk_logps"], temperature=temperature)
    return _sums(chunks, seq_group[batch["chunk_seq"]], groups)


def _compared(
    logps: Tensor, means: Tensor, chosen_means: Tensor, batch: Batch, options: LossOptions
) -> tuple[Tensor, Tensor]:
    """ℓ+ and ℓ− of every pair [R]; of a pair whose differences are not known, over all tokens."""
    is_chosen = batch["seq_is_chosen"]
    better, worse = chosen_means[batch["seq_group"][~is_chosen]], means[~is_chosen]
    if options.tokens == "all":
        return better, worse
    token, seq = batch["pair_token"], batch["pair_seq"]
    of_chosen = is_chosen[batch["seq_ids"][token]]
    sides = []
    for at, every in ((of_chosen, better), (~of_chosen, worse)):
        count = torch.bincount(seq[at], minlength=is_chosen.shape[0])[~is_chosen]
        total = _sums(logps[token[at]], seq[at], is_chosen.shape[0])[~is_chosen]
        sides.append(torch.where(count > 0, total / count.clamp(min=1), every))
    return sides[0], sides[1]


def _soft_labels(batch: Batch, options: LossOptions) -> Tensor | None:
    """τ of every pair [R]; None where all are certain."""
    if options.soft_label == "none":
        return None
    is_chosen, seq_group = batch["seq_is_chosen"], batch["seq_group"]
    noise = torch.tensor(options.label_noise, device=is_chosen.device)[batch["seq_reason"][~is_chosen]]
    if options.soft_label == "smooth":
        return certainty(noise)
    liked = log_odds(batch["seq_teacher"], logp_max=options.logp_max)
    chosen = liked.new_zeros(batch["group_weight"].shape[0])
    chosen[seq_group[is_chosen]] = liked[is_chosen]
    return certainty(noise, chosen[seq_group[~is_chosen]] - liked[~is_chosen], options.teacher_weight)


def _sums(values: Tensor, index: Tensor, size: int) -> Tensor:
    values = _wide(values)
    return values.new_zeros(size).index_add(0, index, values)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
