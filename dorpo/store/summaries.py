"""Sessions, and what their calls took, in numbers."""

from __future__ import annotations

from dorpo.store.records import SessionSummary, Usage
from dorpo.store.tables import Tables

_SESSIONS = """
SELECT uid, created_at, ended_at, document, status,
  (SELECT count(*) FROM step WHERE step.session_id = session.id),
  (SELECT count(*) FROM pair JOIN step ON step.id = pair.step_id AND step.status = 'accepted'
   WHERE step.session_id = session.id)
FROM session ORDER BY id
"""

_USAGE = """
SELECT session.uid, agent_call.step, agent, teacher, count(*), count(*) - count(cost_usd),
  total(input_tokens), total(output_tokens), total(seconds), sum(cost_usd)
FROM agent_call JOIN session ON session.id = agent_call.session_id
WHERE ?1 IS NULL OR session_id = ?1
GROUP BY session_id, agent_call.step, agent, teacher
ORDER BY session_id, agent_call.step, min(agent_call.id)
"""


def read_sessions(tables: Tables) -> list[SessionSummary]:
    """Every session, the oldest first."""
    return [SessionSummary(*found) for found in tables.all(_SESSIONS)]


def read_usage(tables: Tables, session: int | None) -> list[Usage]:
    """Sums for each session, step, agent and teacher."""
    return [_usage(*found) for found in tables.all(_USAGE, session)]


def _usage(
    session: str,
    step: int | None,
    agent: str,
    teacher: str,
    calls: int,
    unpriced: int,
    read: float,
    written: float,
    seconds: float,
    cost: float | None,
) -> Usage:
    return Usage(
        session=session,
        step=step,
        agent=agent,
        teacher=teacher,
        calls=calls,
        input_tokens=int(read),
        output_tokens=int(written),
        seconds=seconds,
        cost_usd=cost,
        unpriced_calls=unpriced,
    )
