"""What a training was fed, in numbers that say nothing of the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dorpo.store import Row

# Of rows without a rejected response.
AT_ONCE = "accepted at once"


def count_rows(rows: Iterable[Row]) -> dict[str, Any]:
    """Rows in all, by the reason of their rejection, and by the teacher that wrote the chosen response; JSON.

    A teacher's address is left out: it may be of a private network.
    """
    counted = [(row.reason or AT_ONCE, row.teacher.partition("@")[0]) for row in rows]
    return {
        "rows": len(counted),
        "by_reason": dict(Counter(reason for reason, _ in counted).most_common()),
        "by_teacher": dict(Counter(teacher for _, teacher in counted).most_common()),
    }
