"""Whether a new program is better than an old one on the same held-out examples, or only luckier.

An exact permutation test of the paired differences, turned into an interval. Where the programs are as good,
the sign of each difference is a coin's; the means of all subsets of the differences then cut the line into
pieces that are equally likely to hold the true change, whatever the scores are distributed like: no normal
curve, which a dozen scores in 0 … 1 do not follow, and no bootstrap, which is too sure of so few.

Source: J. A. Hartigan, Using subsample values as typical values, JASA 64 (1969).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from statistics import fmean

from attrs import frozen

# Fewer cannot be enough, whatever they say: 6 differences have 64 signs, and 1 / 64 is below 2.5 %.
MIN_EXAMPLES = 6
_TAIL = 0.025
# All subsets of so many are looked at; of more examples as many are drawn, always the same ones.
_MOST_EXACT = 14
_SEED = 0


@frozen
class Comparison:
    """An old and a new program on the same held-out examples.

    Attributes:
        before: The old one's mean score.
        after: The new one's.
        low: Lower end of the 95 % interval of the mean change; -1 where there are too few examples to tell.
        high: Its upper end; likewise 1.
        better: Examples on which the new one scores higher.
        worse: Examples on which it scores lower.
        examples: How many there are.
    """

    before: float
    after: float
    low: float
    high: float
    better: int
    worse: int
    examples: int

    @property
    def improved(self) -> bool:
        """Whether the new program is to be kept: luck alone would rarely make it look so good."""
        return self.low > 0


def compare(before: Sequence[float], after: Sequence[float]) -> Comparison:
    """Compare scores of the same examples in the same order, at least one."""
    changes = [new - old for old, new in zip(before, after, strict=True)]
    low, high = interval(changes)
    better, worse = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
    return Comparison(fmean(before), fmean(after), low, high, better, worse, len(changes))


def interval(changes: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of paired differences, each in -1 … 1."""
    means = sorted(_subset_means(changes))
    # One more piece than there are means.
    outside = int(_TAIL * (len(means) + 1))
    if outside == 0:
        return -1.0, 1.0
    return means[outside - 1], means[-outside]


def _subset_means(changes: Sequence[float]) -> Iterator[float]:
    count = len(changes)
    if count <= _MOST_EXACT:
        subsets: Iterator[int] = iter(range(1, 2**count))
    else:
        draw = random.Random(_SEED)  # noqa: S311 - nothing secret depends on it
        drawn = (draw.getrandbits(count) for _ in range(2**_MOST_EXACT))
        subsets = filter(None, drawn)
    for subset in subsets:
        yield fmean(change for place, change in enumerate(changes) if subset >> place & 1)
