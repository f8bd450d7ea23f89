"""What was counted on single prompts, summed up to the figures of a student: pure arithmetic, no model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from attrs import evolve, frozen

_RESAMPLES, _LEVEL = 2000, 0.95
# The same cap as in the objective: text that is copied for sure would be amplified without end.
_LOGP_MAX = -1e-6
# exp of more overflows; a perplexity like that is only a way to say "broken".
_MOST_NATS = 700.0


@frozen
class Pair:
    """A chosen response beside a rejected one.

    Attributes:
        reason: Why the other was rejected, in the dataset's word; other where it has none.
        won: 1 where the chosen one is more probable per token, 0 where it is less, a half for a tie.
    """

    reason: str
    won: float


@frozen(kw_only=True)
class Counts:
    """Sums over one prompt's responses.

    Attributes:
        pairs: One for each rejected response.
        chosen_tokens: Tokens of the chosen response.
        chosen_logp: Their log q, in nats.
        scored: Chosen tokens that a teacher scored.
        kl: KL to the teacher over them, in nats.
        translated: Those of them for which the teacher's alternatives are known in the student's tokens.
        agreed: Those of them for which both find the same token the most probable.
        ending: Probability that the student ends its turn where the chosen response ends.
        cycle: The cycle the chosen response came from.
    """

    pairs: Sequence[Pair]
    chosen_tokens: int
    chosen_logp: float
    scored: int
    kl: float
    translated: int
    agreed: int
    ending: float
    cycle: int

    @property
    def won(self) -> float:
        """Pairs won."""
        return sum(pair.won for pair in self.pairs)

    @property
    def chosen_mean(self) -> float:
        """Mean log q of a chosen token, in nats."""
        return self.chosen_logp / self.chosen_tokens


@frozen(kw_only=True)
class PairAccuracy:
    """Pair accuracy on a part of the pairs: how many they are, their share won, its interval over prompts."""

    pairs: int
    share: float
    interval: tuple[float, float]


@frozen(kw_only=True)
class Gain:
    """What a student has over another one on the same prompts, with 95 % bootstrap intervals over these.

    The intervals are narrower than those of either student alone suggest: what makes a prompt hard for both
    is not drawn anew.

    Attributes:
        pair_accuracy: More pair accuracy; None without pairs.
        pair_interval: Its interval.
        kl: More KL, in nats per scored token, so less than nothing is better; None without scored tokens.
        kl_interval: Its interval.
    """

    pair_accuracy: float | None
    pair_interval: tuple[float, float] | None
    kl: float | None
    kl_interval: tuple[float, float] | None


@frozen(kw_only=True)
class Figures:
    """How good a student is; a figure is None where nothing on the rows defines it.

    Attributes:
        prompts: Prompts measured.
        pairs: Pairs of a chosen and a rejected response.
        pair_accuracy: Share of the pairs whose chosen response is more probable per token, ties as a half.
        pair_interval: Its 95 % bootstrap interval over prompts.
        by_reason: The same by the reason of the rejection.
        chosen_perplexity: exp of the mean negative log-likelihood of a chosen token.
        kl: KL to the teacher in nats per scored token.
        kl_first_cycle: The same where the first attempt was accepted.
        kl_later_cycles: The same where a later one was.
        teacher_agreement: Share of the translated tokens with the teacher's most probable token on top.
        ending_probability: Mean probability that the student ends its turn where the chosen response ends.
        chosen_probability: p̄, mean over prompts of the chosen response's probability per token.
        amplification: 1 / (1 - p̄), by which the odds ratio's gradient multiplies λ.
    """

    prompts: int
    pairs: int
    pair_accuracy: float | None
    pair_interval: tuple[float, float] | None
    by_reason: dict[str, PairAccuracy]
    chosen_perplexity: float
    kl: float | None
    kl_first_cycle: float | None
    kl_later_cycles: float | None
    teacher_agreement: float | None
    ending_probability: float
    chosen_probability: float
    amplification: float


def summarize(counts: Sequence[Counts], *, seed: int = 0) -> Figures:
    """The figures of at least one prompt; `seed` is the bootstrap's."""
    reasons = sorted({pair.reason for count in counts for pair in count.pairs})
    whole = _accuracy(counts, seed)
    negative = -sum(count.chosen_logp for count in counts) / sum(count.chosen_tokens for count in counts)
    probability = sum(math.exp(min(count.chosen_mean, _LOGP_MAX)) for count in counts) / len(counts)
    return Figures(
        prompts=len(counts),
        pairs=whole.pairs if whole else 0,
        pair_accuracy=whole.share if whole else None,
        pair_interval=whole.interval if whole else None,
        by_reason={
            reason: part for reason in reasons if (part := _accuracy(_because_of(reason, counts), seed))
        },
        chosen_perplexity=math.exp(min(negative, _MOST_NATS)),
        kl=_kl(counts),
        kl_first_cycle=_kl([count for count in counts if count.cycle <= 1]),
        kl_later_cycles=_kl([count for count in counts if count.cycle > 1]),
        teacher_agreement=_share(
            sum(count.agreed for count in counts), sum(count.translated for count in counts)
        ),
        ending_probability=sum(count.ending for count in counts) / len(counts),
        chosen_probability=probability,
        amplification=1 / (1 - probability),
    )


def gain(before: Sequence[Counts], after: Sequence[Counts], *, seed: int = 0) -> Gain:
    """What `after` has over `before`, which were counted on the same prompts in the same order."""
    both = list(zip(before, after, strict=True))
    won = [(new.won - old.won, len(new.pairs)) for old, new in both if new.pairs]
    distance = [(new.kl - old.kl, new.scored) for old, new in both if new.scored]
    more_won, won_interval = _difference(won, seed)
    more_kl, kl_interval = _difference(distance, seed)
    return Gain(pair_accuracy=more_won, pair_interval=won_interval, kl=more_kl, kl_interval=kl_interval)


def bootstrap_interval(
    won: Sequence[float], pairs: Sequence[int], *, seed: int = 0, resamples: int = _RESAMPLES
) -> tuple[float, float]:
    """95 % percentile interval of Σ won / Σ pairs when whole prompts are drawn with replacement.

    The pairs of one prompt share its chosen response, so drawing single pairs would look too certain.

    Args:
        won: Pairs won at each prompt, or any other sum.
        pairs: Pairs of each prompt, at least one, or whatever that is a sum over.
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


def _accuracy(counts: Sequence[Counts], seed: int) -> PairAccuracy | None:
    """Of all pairs; None when there is none."""
    paired = [count for count in counts if count.pairs]
    if not paired:
        return None
    won, pairs = [count.won for count in paired], [len(count.pairs) for count in paired]
    interval = bootstrap_interval(won, pairs, seed=seed)
    return PairAccuracy(pairs=sum(pairs), share=sum(won) / sum(pairs), interval=interval)


def _because_of(reason: str, counts: Sequence[Counts]) -> list[Counts]:
    """The same prompts with only the pairs of this reason."""
    return [evolve(count, pairs=[pair for pair in count.pairs if pair.reason == reason]) for count in counts]


def _difference(
    parts: Sequence[tuple[float, int]], seed: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Of sums over sums, with its interval; nothing without parts."""
    if not parts:
        return None, None
    more, whole = [part for part, _ in parts], [size for _, size in parts]
    return sum(more) / sum(whole), bootstrap_interval(more, whole, seed=seed)


def _kl(counts: Sequence[Counts]) -> float | None:
    return _share(sum(count.kl for count in counts), sum(count.scored for count in counts))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
