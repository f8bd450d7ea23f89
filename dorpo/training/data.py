"""What a training was fed, in numbers that say nothing of the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dorpo.store import Row

# Of rows without a rejected response.
AT_ONCE = "accepted at once"


def count_rows(rows: Iterable[Row]) -> dict[str, Any]:
    """Rows in all, by the reason of their rejection, and by the models that had a part in them; JSON.

    `by_teacher` is who wrote the chosen response, `by_labeller` whose soft labels the row has on any side.
    """
    counted = [(row.reason or AT_ONCE, _public(row.teacher), _labellers(row)) for row in rows]
    return {
        "rows": len(counted),
        "by_reason": dict(Counter(reason for reason, *_ in counted).most_common()),
        "by_teacher": dict(Counter(teacher for _, teacher, _ in counted).most_common()),
        "by_labeller": dict(Counter(model for *_, models in counted for model in models).most_common()),
    }


def _labellers(row: Row) -> set[str]:
    return {_public(model) for model in (row.chosen_labels_by, row.rejected_labels_by) if model}


def _public(model: str) -> str:
    """A model without its address, which may be of a private network, and without the folder of its file."""
    provider, _, name = model.partition("@")[0].partition("/")
    return f"{provider}/{Path(name).name}" if Path(name).suffix == ".gguf" else model.partition("@")[0]
