"""What the user's answers say about the agents: steps with everything that was tried in them.

Rows are what a training sees. Improving prompts needs more: who said what of which attempt, and why it
failed. Credentials are taken out, since these texts are shown to teachers again.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen

from dorpo.redaction import redact
from dorpo.store.tables import Tables

_SLICE = 64

_STEPS = """
SELECT step.id, session.uid, step.n, session.document, session.language, request.body, script.body,
  step.text, step.status
FROM step
JOIN session ON session.id = step.session_id
JOIN text AS request ON request.id = session.request
JOIN text AS script ON script.id = session.script
WHERE step.id > ? AND session.instance = ? ORDER BY step.id LIMIT ?
"""

# In a cycle, the worker's attempt before the user's amendment of it. Of words and runs, the last counts.
_ATTEMPTS = """
SELECT attempt.cycle, attempt.author, attempt.cause, instruction.body, base.body, reasoning.body, script.body,
  (SELECT body FROM run JOIN text ON text.id = run.output WHERE run.attempt_id = attempt.id
   ORDER BY run.id DESC LIMIT 1),
  feedback.words, feedback.verdict, feedback.decided_by,
  (SELECT reason FROM pair WHERE rejected_id = attempt.id),
  EXISTS(SELECT 1 FROM pair WHERE chosen_id = attempt.id)
FROM attempt
JOIN text AS instruction ON instruction.id = attempt.instruction
JOIN text AS base ON base.id = attempt.base_script
JOIN text AS reasoning ON reasoning.id = attempt.reasoning
JOIN text AS script ON script.id = attempt.script
LEFT JOIN feedback ON feedback.id = (SELECT max(id) FROM feedback WHERE attempt_id = attempt.id)
WHERE attempt.step_id = ? ORDER BY attempt.cycle, attempt.author DESC
"""


@frozen
class HarvestedAttempt:
    """An attempt and what became of it.

    Attributes:
        cycle: From 1.
        author: worker or user.
        cause: See `AttemptRecord`.
        instruction: What the lead asked for.
        base_script: The script that it was asked of.
        reasoning: The chain of thought.
        script: The whole changed script.
        output: What its last run printed; empty when it was not run.
        words: What the user said of it; empty when they said nothing.
        verdict: Their last verdict; None when there is none.
        decided_by: user or analyzer.
        reason: Why it was rejected; None when it was not.
        chosen: Whether it is the accepted one.
    """

    cycle: int
    author: str
    cause: str
    instruction: str
    base_script: str
    reasoning: str
    script: str
    output: str
    words: str
    verdict: str | None
    decided_by: str | None
    reason: str | None
    chosen: bool


@frozen
class HarvestedStep:
    """A step, the session it belongs to, and its attempts in their order.

    Attributes:
        session: The session's uid.
        step: Index within the session, from 0.
        document: The document's name.
        language: The document's language.
        request: The session's change request.
        script: What the document held when the session began.
        text: What the planner wrote for this step.
        status: open, accepted or abandoned.
    """

    session: str
    step: int
    document: str
    language: str
    request: str
    script: str
    text: str
    status: str
    attempts: tuple[HarvestedAttempt, ...]


def read_steps(tables: Tables, instance: str, after: int) -> tuple[list[HarvestedStep], int]:
    """A slice of an instance's steps after a place, and the place it reaches to; empty at the end."""
    found = tables.all(_STEPS, after, instance, _SLICE)
    return [_step(tables, record) for record in found], found[-1][0] if found else after


def _step(tables: Tables, record: tuple[Any, ...]) -> HarvestedStep:
    step_id, session, n, document, language, request, script, text, status = record
    attempts = tuple(_attempt(found) for found in tables.all(_ATTEMPTS, step_id))
    return HarvestedStep(
        session, n, document, language, _clean(request), _clean(script), _clean(text), status, attempts
    )


def _attempt(record: tuple[Any, ...]) -> HarvestedAttempt:
    cycle, author, cause, instruction, base, reasoning, script, output, words, *judged, chosen = record
    verdict, decided_by, reason = judged
    return HarvestedAttempt(
        cycle=cycle,
        author=author,
        cause=cause,
        instruction=_clean(instruction),
        base_script=_clean(base),
        reasoning=_clean(reasoning),
        script=_clean(script),
        output=_clean(output),
        words=_clean(words),
        verdict=verdict,
        decided_by=decided_by,
        reason=reason,
        chosen=bool(chosen),
    )


def _clean(text: str | None) -> str:
    return redact(text or "")[0]
