"""What is reported while a student is trained: means over the rows since the last report, and its pace."""

from __future__ import annotations

import time
from collections.abc import Mapping

from attrs import define, field

from dorpo import processes
from dorpo.metrics import Metric


@define(eq=False)
class Report:
    """What happened since the last report, on all devices.

    The clock runs from the first step of a report to its end, without what lies between: evaluations and
    checkpoints.
    """

    _means: dict[str, dict[str, Metric]] = field(factory=lambda: {"train": {}, "eval": {}}, init=False)
    _read: int = field(default=0, init=False)
    _apart: int = field(default=0, init=False)
    _begun: float | None = field(default=None, init=False)

    def add(self, metrics: Mapping[str, Metric], during: str) -> None:
        """Add a batch's, `during` train or eval."""
        means = self._means[during]
        for name, metric in metrics.items():
            before = means.get(name)
            means[name] = metric if before is None else before.plus(metric)

    def begin_step(self, *, read: int, apart: int) -> None:
        """A step begins, in which so many tokens are read instead of so many, row by row."""
        self._begun = time.monotonic() if self._begun is None else self._begun
        self._read += read
        self._apart += apart

    def take(self, during: str) -> dict[str, float]:
        """The report, which begins anew. All processes must call it."""
        means = {name: metric.numbers() for name, metric in self._means[during].items()}
        self._means[during] = {}
        everywhere = processes.gathered(means)
        report = {}
        for name in dict.fromkeys(name for means in everywhere for name in means):
            totals, counts = zip(*(means[name] for means in everywhere if name in means), strict=True)
            if sum(counts):
                report[name] = sum(totals) / sum(counts)
        return report | self._pace() if during == "train" else report

    def _pace(self) -> dict[str, float]:
        if self._begun is None or not self._read:
            return {}
        seconds = max(time.monotonic() - self._begun, 1e-9)
        pace = {"tokens_per_second": self._read / seconds, "saved_token_ratio": 1 - self._read / self._apart}
        self._read, self._apart, self._begun = 0, 0, None
        return pace
