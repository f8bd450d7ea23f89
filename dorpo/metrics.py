"""What is reported about a loss: means in the making, under the names that TRL has for them, and ours."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional

from dorpo.align import Kind
from dorpo.batches import Batch


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
class Terms:
    """What a loss was made of: G groups, P of them with rejected responses, R of these.

    Attributes:
        first: The whole first term, per chosen token [G].
        nats: KL to the teacher, over the chosen tokens that it scored [G].
        scored: How many these are [G].
        odds: Odds-ratio loss of the groups that have one [P].
        chosen: Mean log-probabilities of the chosen responses [G].
        rejected: The same of the rejected responses [R].
        chosen_compared: What the odds ratio took of the chosen side for each rejected response [R].
        rejected_compared: And of the rejected side [R].
        delta: The log odds ratio Δ [R].
    """

    first: Tensor
    nats: Tensor
    scored: Tensor
    odds: Tensor
    chosen: Tensor
    rejected: Tensor
    chosen_compared: Tensor
    rejected_compared: Tensor
    delta: Tensor


@torch.no_grad()
def metrics_of(terms: Terms, batch: Batch, *, beta: float, logp_max: float) -> dict[str, Metric]:
    """Names and signs are TRL's where it has them; the rest is ours. None counts what does not define it."""
    paired = terms.chosen[batch["seq_group"][~batch["seq_is_chosen"]]]
    held = torch.maximum(terms.chosen_compared, terms.rejected_compared) <= logp_max
    first_cycle = batch["group_cycle"] == 1
    labelled = batch["token_kind"] != Kind.NONE
    kinds = batch["token_kind"][labelled]
    soft = kinds == Kind.ONE_TO_ONE
    mass = batch["topk_logps"].exp().masked_fill(~batch["topk_mask"], 0.0).sum(-1)[labelled]
    tied = 0.5 * (paired == terms.rejected).float()
    values = {
        "kd_loss": terms.first,
        "nll": -terms.chosen,
        "or_loss": terms.odds,
        "logps/chosen": terms.chosen,
        "logps/rejected": terms.rejected,
        "rewards/chosen": beta * terms.chosen,
        "rewards/rejected": beta * terms.rejected,
        "rewards/margins": beta * (paired - terms.rejected),
        "rewards/accuracies": (paired > terms.rejected).float() + tied,
        "log_odds_ratio": functional.logsigmoid(terms.delta),
        "log_odds_chosen": terms.delta,
        # By how much 1 / (1 − e^ℓ) multiplies λ: text that is mostly copied makes this large.
        "or/amplification": 1 / -torch.expm1(terms.chosen_compared.clamp(max=logp_max)),
        "or/active_frac": held.float(),
        "kd/teacher_mass": mass[soft].clamp(max=1.0),
        "kd/one_to_one_frac": soft.float(),
        "kd/chunk_frac": (kinds == Kind.CHUNK).float(),
        "kd/hard_frac": (kinds == Kind.HARD).float(),
    }
    # Per scored token over all groups, as `dorpo.evaluation.figures` has it: not a mean of means.
    distances = {"kl": torch.ones_like(first_cycle), "kl/cycle1": first_cycle, "kl/cycle>1": ~first_cycle}
    return {
        name: Metric(value.detach().float().sum(), torch.tensor(value.numel(), device=value.device))
        for name, value in values.items()
    } | {name: Metric(terms.nats[at].sum(), terms.scored[at].sum()) for name, at in distances.items()}
