"""Which rows of the dataset are fit to learn from. What is not is left out whole, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from attrs import frozen

from dorpo.redaction import redact
from dorpo.store import Row

EMPTY = "empty"
ALIKE = "chosen and rejected alike"
DUPLICATE = "duplicate"
CREDENTIALS = "with credentials"
TOO_LONG = "too long for the student"


@frozen
class Checked:
    """The rows that passed, and how many did not, by the reason."""

    rows: list[Row]
    dropped: Mapping[str, int]


def check(rows: Iterable[Row]) -> Checked:
    """Leave out what would teach nothing, or what a model would learn by heart and tell everybody."""
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    seen: set[tuple[str, str, str | None]] = set()
    for row in rows:
        texts = (row.prompt, row.chosen, row.rejected)
        flaw = DUPLICATE if texts in seen else _flaw(texts)
        if flaw is None:
            seen.add(texts)
            kept.append(row)
        else:
            dropped[flaw] += 1
    return Checked(kept, dict(dropped))


def _flaw(texts: tuple[str, str, str | None]) -> str | None:
    _, chosen, rejected = texts
    if any(text is not None and not text.strip() for text in texts):
        return EMPTY
    if chosen == rejected:
        return ALIKE
    if any(text and redact(text)[1] for text in texts):
        return CREDENTIALS
    return None
