"""Correcting what was made of a user's words: the label changes, and the rows of its step with it.

Every function runs inside a transaction of its caller. "Chosen" below is the attempt that stands on the
chosen side of the step's rows, which may be the user's own amendment of the attempt.
"""

from __future__ import annotations

from dorpo.store.errors import StoreError
from dorpo.store.pairing import choose, insert_row
from dorpo.store.tables import AttemptPlace, Tables, now

_CHOSEN = "SELECT chosen_id FROM pair WHERE step_id = ? AND chosen_id IS NOT NULL LIMIT 1"
_AMENDMENT = "SELECT uid FROM attempt WHERE step_id = ? AND cycle = ? AND cause = 'amended'"
# One that broke off is still at it, if it can be resumed.
_ENGINES = """
SELECT 1 FROM step JOIN session ON session.id = step.session_id
WHERE step.id = ? AND step.status = 'open'
  AND (session.status = 'open' OR session.status = 'crashed' AND session.settings IS NOT NULL)
"""
_LATEST_ACCEPTED = """
SELECT attempt.uid FROM attempt
WHERE attempt.step_id = ? AND 'accepted' =
  (SELECT verdict FROM feedback WHERE attempt_id = attempt.id ORDER BY id DESC LIMIT 1)
ORDER BY attempt.cycle DESC LIMIT 1
"""


def relabel(tables: Tables, attempt: AttemptPlace, verdict: str) -> None:
    """Make `verdict` the user's last word about an attempt; see `Store.relabel`."""
    said = tables.one("SELECT id FROM feedback WHERE attempt_id = ? ORDER BY id DESC LIMIT 1", attempt.id)
    if said is None:
        raise StoreError("Nothing was said about this attempt yet: there is no verdict to correct.")
    tables.run("UPDATE feedback SET verdict = ?, decided_by = 'user' WHERE id = ?", verdict, said[0])
    chosen = tables.one(_CHOSEN, attempt.step_id)
    is_chosen = chosen is not None and chosen[0] in (attempt.id, _shown(tables, attempt).id)
    if verdict != "accepted":
        if is_chosen:
            _take_back_choice(tables, attempt.step_id)
        _reject(tables, attempt, verdict)
    elif not is_chosen:
        _take_back_rejection(tables, attempt)
    settle(tables, attempt.step_id)


def settle(tables: Tables, step_id: int) -> None:
    """Choose the latest accepted attempt of a step that has no chosen and that no session works on any more.

    While one does, only its own answers close the step: a correction waits here until the step or the session
    ends.
    """
    if tables.one(_CHOSEN, step_id) or tables.one(_ENGINES, step_id):
        return
    accepted = tables.one(_LATEST_ACCEPTED, step_id)
    if accepted is None:
        return
    attempt = tables.attempt(accepted[0])
    _take_back_rejection(tables, attempt)
    choose(tables, _shown(tables, attempt))


def _reject(tables: Tables, attempt: AttemptPlace, reason: str) -> None:
    """Give the attempt a row of its own as the rejected one, or that row this reason."""
    own = tables.one("SELECT id FROM pair WHERE rejected_id = ?", attempt.id)
    # A row that was made without a rejected takes it: trainings know rows by their uid.
    own = own or tables.one("SELECT id FROM pair WHERE step_id = ? AND rejected_id IS NULL", attempt.step_id)
    if own is None:
        chosen = tables.one(_CHOSEN, attempt.step_id)
        sides = {"rejected_id": attempt.id, "reason": reason, "chosen_id": chosen[0] if chosen else None}
        insert_row(tables, attempt.step_id, **sides)
        return
    tables.run(
        "UPDATE pair SET rejected_id = ?1, reason = ?2, updated_at = ?3, "
        "chosen_id = CASE WHEN chosen_id = ?1 THEN NULL ELSE chosen_id END WHERE id = ?4",
        attempt.id,
        reason,
        now(),
        own[0],
    )


def _take_back_choice(tables: Tables, step_id: int) -> None:
    """Leave the step without a chosen; a row with nothing but its chosen waits for `_reject`."""
    rows = "UPDATE pair SET chosen_id = NULL, updated_at = ? WHERE step_id = ? AND rejected_id IS NOT NULL"
    tables.run(rows, now(), step_id)
    tables.run("UPDATE step SET status = 'abandoned' WHERE id = ?", step_id)


def _take_back_rejection(tables: Tables, attempt: AttemptPlace) -> None:
    """Take the attempt's own row away; a step that has a chosen keeps a row, if only without a rejected."""
    (others,) = tables.one(
        "SELECT count(*) FROM pair WHERE step_id = ? AND rejected_id IS NOT ?", attempt.step_id, attempt.id
    ) or (0,)
    if tables.one(_CHOSEN, attempt.step_id) and not others:
        tables.run(
            "UPDATE pair SET rejected_id = NULL, reason = NULL, updated_at = ? WHERE rejected_id = ?",
            now(),
            attempt.id,
        )
    else:
        tables.run("DELETE FROM pair WHERE rejected_id = ?", attempt.id)


def _shown(tables: Tables, attempt: AttemptPlace) -> AttemptPlace:
    """What the user looked at when they spoke: the attempt, or what they had made of it."""
    amendment = tables.one(_AMENDMENT, attempt.step_id, attempt.cycle)
    return tables.attempt(amendment[0]) if amendment else attempt
