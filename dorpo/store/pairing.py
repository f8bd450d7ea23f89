"""How attempts become rows: the rejected side when it happens, the chosen side when the step is accepted.

Source: the white paper, "Mechanism". Every function runs inside a transaction of its caller.
"""

from __future__ import annotations

import uuid
from typing import Any

from dorpo.store.errors import StoreError
from dorpo.store.tables import AttemptPlace, StepPlace, Tables, now


def write_rejected(tables: Tables, attempt_id: int, step_id: int, reason: str) -> str:
    """Write the row of a rejected attempt, or find it, and return its uid."""
    written = tables.one("SELECT uid FROM pair WHERE rejected_id = ?", attempt_id)
    if written is not None:
        return str(written[0])
    if tables.one("SELECT status FROM step WHERE id = ?", step_id) == ("accepted",):
        raise StoreError(
            "The step of this attempt was accepted already: nothing of it can be rejected any more."
        )
    return insert_row(tables, step_id, rejected_id=attempt_id, reason=reason)


def write_chosen(tables: Tables, step: StepPlace, attempt: AttemptPlace) -> list[str]:
    """Make the attempt the chosen side of the step's rows, and return their uids.

    Raises:
        StoreError: The step has no prompt, was abandoned, or was accepted with another attempt.
    """
    if attempt.step_id != step.id:
        raise StoreError("The accepted attempt belongs to another step: nothing was stored.")
    if step.prompt is None:
        raise StoreError("The accepted step has no prompt: nothing was stored.")
    if step.status == "abandoned":
        raise StoreError("The accepted step was abandoned before: nothing was stored.")
    if step.status == "open":
        choose(tables, attempt)
    rows = tables.all("SELECT uid, chosen_id FROM pair WHERE step_id = ? ORDER BY id", step.id)
    if any(chosen != attempt.id for _, chosen in rows):
        raise StoreError("The step was accepted with another attempt before: nothing was stored.")
    return [uid for uid, _ in rows]


def choose(tables: Tables, attempt: AttemptPlace) -> None:
    """Accept a step with this attempt: it becomes the chosen side of every row, or of one new row."""
    step_id = attempt.step_id
    if attempt.cause == "amended":
        # What the user had to correct is what they did not want.
        workers = "SELECT id FROM attempt WHERE step_id = ? AND cycle = ? AND author = 'worker'"
        for (worker_id,) in tables.all(workers, step_id, attempt.cycle):
            write_rejected(tables, worker_id, step_id, "amended")
    tables.run("UPDATE pair SET chosen_id = ?, updated_at = ? WHERE step_id = ?", attempt.id, now(), step_id)
    if tables.one("SELECT 1 FROM pair WHERE step_id = ?", step_id) is None:
        insert_row(tables, step_id, chosen_id=attempt.id)
    tables.run("UPDATE step SET status = 'accepted' WHERE id = ?", step_id)


def insert_row(tables: Tables, step_id: int, **sides: Any) -> str:
    """Write a row with these sides, and return its uid."""
    uid, time = str(uuid.uuid4()), now()
    tables.insert("pair", uid=uid, step_id=step_id, created_at=time, updated_at=time, **sides)
    return uid
