"""What was counted on single prompts, summed up to the figures of a student: pure arithmetic, no model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import frozen

_RESAMPLES, _LEVEL = 2000, 0.95
# The same cap as in the objective: text that is copied for sure would be amplified without end.
_LOGP_MAX = -1e-6
# exp of more overflows; a perplexity like that is only a way to say "broken".
_MOST_NATS = 700.0


@frozen(kw_only=True)
class Counts:
    """Sums over one prompt's responses.

    Attributes:
        pairs: Rejected responses.
        won: Those less probable per token than the chosen one, ties as a half.
        chosen_tokens: Tokens of the chosen response.
        chosen_logp: Their log q, in nats.
        scored: Chosen tokens that a teacher scored.
        kl: KL to the teacher over them, in nats.
        translated: Those of them for which the teacher's alternatives are known in the student's tokens.
        agreed: Those of them for which both find the same token the most probable.
        cycle: The cycle the chosen response came from.
    """

    pairs: int
    won: float
    chosen_tokens: int
    chosen_logp: float
    scored: int
    kl: float
    translated: int
    agreed: int
    cycle: int

    @property
    def chosen_mean(self) -> float:
        """Mean log q of a chosen token, in nats."""
        return self.chosen_logp / self.chosen_tokens


@frozen(kw_only=True)
class Figures:
    """How good a student is; a figure is None where nothing on the rows defines it.

    Attributes:
        prompts: Prompts measured.
        pairs: Pairs of a chosen and a rejected response.
        pair_accuracy: Share of the pairs whose chosen response is more probable per token, ties as a half.
        pair_interval: Its 95 % bootstrap interval over prompts.
        chosen_perplexity: exp of the mean negative log-likelihood of a chosen token.
        kl: KL to the teacher in nats per scored token.
        kl_first_cycle: The same where the first attempt was accepted.
        kl_later_cycles: The same where a later one was.
        teacher_agreement: Share of the translated tokens with the teacher's most probable token on top.
        chosen_probability: p̄, mean over prompts of the chosen response's probability per token.
        amplification: 1 / (1 - p̄), by which the odds ratio's gradient multiplies λ.
    """

    prompts: int
    pairs: int
    pair_accuracy: float | None
    pair_interval: tuple[float, float] | None
    chosen_perplexity: float
    kl: float | None
    kl_first_cycle: float | None
    kl_later_cycles: float | None
    teacher_agreement: float | None
    chosen_probability: float
    amplification: float


def summarize(counts: Sequence[Counts], *, seed: int = 0) -> Figures:
    """The figures of at least one prompt; `seed` is the bootstrap's."""
    paired = [count for count in counts if count.pairs]
    pairs, won = [count.pairs for count in paired], [count.won for count in paired]
    negative = -sum(count.chosen_logp for count in counts) / sum(count.chosen_tokens for count in counts)
    probability = sum(math.exp(min(count.chosen_mean, _LOGP_MAX)) for count in counts) / len(counts)
    return Figures(
        prompts=len(counts),
        pairs=sum(pairs),
        pair_accuracy=_share(sum(won), sum(pairs)),
        pair_interval=bootstrap_interval(won, pairs, seed=seed) if paired else None,
        chosen_perplexity=math.exp(min(negative, _MOST_NATS)),
        kl=_kl(counts),
        kl_first_cycle=_kl([count for count in counts if count.cycle <= 1]),
        kl_later_cycles=_kl([count for count in counts if count.cycle > 1]),
        teacher_agreement=_share(
            sum(count.agreed for count in counts), sum(count.translated for count in counts)
        ),
        chosen_probability=probability,
        amplification=1 / (1 - probability),
    )


def bootstrap_interval(
    won: Sequence[float], pairs: Sequence[int], *, seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of Σ won / Σ pairs when whole prompts are drawn with replacement.

    The pairs of one prompt share its chosen response, so drawing single pairs would look too certain.

    Args:
        won: Pairs won at each prompt.
        pairs: Pairs of each prompt, at least one.
        seed: Equal seeds give equal intervals.
        resamples: How often to draw.
    """
    generator = np.random.default_rng(seed)
    wins, sizes = np.asarray(won, dtype=float), np.asarray(pairs, dtype=float)
    shares = np.empty(resamples)
    for n in range(resamples):
        drawn = generator.integers(0, len(sizes), len(sizes))
        shares[n] = wins[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(shares, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _kl(counts: Sequence[Counts]) -> float | None:
    return _share(sum(count.kl for count in counts), sum(count.scored for count in counts))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
