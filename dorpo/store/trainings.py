"""Which training saw which rows. Every function runs inside a transaction of its caller."""

from __future__ import annotations

from collections.abc import Sequence

from dorpo.store.errors import StoreError
from dorpo.store.tables import Tables, now

_OF_SESSION = """
SELECT DISTINCT training.uid FROM training
JOIN training_row ON training_row.training_id = training.id
JOIN pair ON pair.uid = training_row.row_uid
JOIN step ON step.id = pair.step_id
WHERE step.session_id = ? ORDER BY training.id
"""

_FINISH = """
UPDATE training SET status = ?, ended_at = ?, last_step = ?, metrics = ?, error = ? WHERE id = ?
"""


def begin_training(tables: Tables, rows: Sequence[str], **columns: str) -> None:
    """Store a running training and the uids of its rows."""
    training = tables.insert("training", created_at=now(), **columns)
    for row in rows:
        tables.run("INSERT INTO training_row(training_id, row_uid) VALUES (?, ?)", training, row)


def end_training(
    tables: Tables, uid: str, status: str, last_step: int | None, metrics: str | None, error: str | None
) -> None:
    """Store how a training ended."""
    found = tables.one("SELECT id FROM training WHERE uid = ?", uid)
    if found is None:
        raise StoreError(f"The dataset {tables.path} has no training {uid}: it was not started here.")
    tables.run(_FINISH, status, now(), last_step, metrics, error, found[0])


def trainings_of_session(tables: Tables, session: int) -> list[str]:
    """Uids of the trainings that used a row of the session."""
    return [uid for (uid,) in tables.all(_OF_SESSION, session)]
