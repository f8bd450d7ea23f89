"""Reading the dataset in short slices: a long read would keep every writer waiting, or its log growing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from dorpo.store.errors import StoreError
from dorpo.store.records import Row, Stats

_SLICE = 64

# Rows of one step stand together, and the order never changes: a training can be repeated.
_ROWS = """
SELECT pair.step_id, pair.id, pair.uid, session.uid, step.n,
  prompt.body, prompt.sha256, chosen_text.body, chosen_text.sha256, rejected_text.body, rejected_text.sha256,
  pair.reason, chosen.teacher, chosen.cycle,
  chosen_labels.data, chosen_labels.sha256, rejected_labels.data, rejected_labels.sha256,
  chosen_labels.teacher, rejected_labels.teacher
FROM pair
JOIN step ON step.id = pair.step_id AND step.status = 'accepted'
JOIN session ON session.id = step.session_id
JOIN text AS prompt ON prompt.id = step.prompt
JOIN attempt AS chosen ON chosen.id = pair.chosen_id
JOIN text AS chosen_text ON chosen_text.id = chosen.response
LEFT JOIN attempt AS rejected ON rejected.id = pair.rejected_id
LEFT JOIN text AS rejected_text ON rejected_text.id = rejected.response
LEFT JOIN soft_labels AS chosen_labels ON chosen_labels.attempt_id = chosen.id
LEFT JOIN soft_labels AS rejected_labels ON rejected_labels.attempt_id = rejected.id
WHERE (pair.step_id, pair.id) > (?, ?)
ORDER BY pair.step_id, pair.id
LIMIT ?
"""

_COUNTS = """
SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM step), (SELECT count(*) FROM attempt),
  (SELECT count(*) FROM pair WHERE chosen_id IS NULL),
  count(*), count(reason), coalesce(sum(has_soft_labels), 0)
FROM dorpo
"""


def read_slice(db: Database, path: Path, after: tuple[int, int]) -> tuple[list[Row], tuple[int, int]]:
    """The complete rows after a place, and the place they reach to; the place does not move at the end.

    Raises:
        StoreError: A text or soft label is not what was once stored.
    """
    found = db.execute(_ROWS, (*after, _SLICE)).fetchall()
    reached = (found[-1][0], found[-1][1]) if found else after
    return [_row(path, record[2:]) for record in found], reached


def _row(path: Path, record: tuple[Any, ...]) -> Row:
    uid, session, step, prompt, prompt_sha, chosen, chosen_sha, rejected, rejected_sha, *rest = record
    reason, teacher, cycle, chosen_labels, chosen_labels_sha, rejected_labels, rejected_labels_sha, *by = rest
    contents = (
        (prompt, prompt_sha),
        (chosen, chosen_sha),
        (rejected, rejected_sha),
        (chosen_labels, chosen_labels_sha),
        (rejected_labels, rejected_labels_sha),
    )
    # SQLite's own checks do not see a flipped bit inside a text.
    if any(content is not None and checksum(content) != expected for content, expected in contents):
        raise StoreError(f"The dataset {path} is damaged in the session {session}: delete that session.")
    labels = chosen_labels, rejected_labels
    return Row(uid, session, step, prompt, chosen, rejected, reason, teacher, cycle, *labels, *by)


def read_stats(db: Database, path: Path) -> Stats:
    """Count what the dataset holds."""
    sessions, steps, attempts, open_rows, rows, with_rejected, with_soft_labels = db.execute(
        _COUNTS
    ).fetchone()
    reasons = "SELECT reason, count(*) FROM dorpo WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason"
    teachers = "SELECT teacher, count(*) FROM dorpo GROUP BY teacher ORDER BY teacher"
    labellers = (
        "SELECT coalesce(soft_labels_by, 'unknown') AS by, count(*) FROM dorpo WHERE has_soft_labels "
        "GROUP BY by ORDER BY by"
    )
    files = (path, path.with_name(path.name + "-wal"))
    return Stats(
        sessions=sessions,
        steps=steps,
        attempts=attempts,
        rows=rows,
        open_rows=open_rows,
        with_rejected=with_rejected,
        with_soft_labels=with_soft_labels,
        by_reason=dict(db.execute(reasons).fetchall()),
        by_teacher=dict(db.execute(teachers).fetchall()),
        by_labeller=dict(db.execute(labellers).fetchall()),
        size_bytes=sum(file.stat().st_size for file in files if file.exists()),
        path=path,
    )


def checksum(content: str | bytes) -> str:
    """SHA-256 in hex; of a text, its UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def fingerprint(rows: Iterable[Row]) -> str:
    """SHA-256 in hex of everything training sees of these rows, in their order."""
    total = hashlib.sha256()
    for row in rows:
        for content in _contents(row):
            # Each piece has one length, so two datasets cannot run together into the same bytes.
            total.update(checksum(content).encode() if content is not None else b"-" * 64)
    return total.hexdigest()


def _contents(row: Row) -> Iterator[str | bytes | None]:
    yield from (
        row.uid,
        row.prompt,
        row.chosen,
        row.rejected,
        row.chosen_soft_labels,
        row.rejected_soft_labels,
    )
