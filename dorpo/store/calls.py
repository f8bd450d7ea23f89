"""What came of the calls of each agent, found by the attempts that they led to.

* worker: the attempt with this very answer. accepted; error, redo, further_edit or amended when it became a
  rejected one; abandoned when its step was given up before it was judged; discarded when it was never shown.
* lead: the same of the attempt that followed its instruction; by_hand when the user solved the step then.
* planner: accepted when every step of the plan was, partly_accepted when some were, abandoned when none was.
* analyzer: the verdict that held in the end, whatever it read; unclear when the user had to say more.

Nothing is known while the step, for the planner the session, is open; nor after a session broke off, since it
may be resumed.
"""

from __future__ import annotations

import json

from attrs import frozen

from dorpo.store.errors import StoreError
from dorpo.store.reading import checksum
from dorpo.store.records import AgentCall
from dorpo.store.tables import Tables

AGENTS = ("analyzer", "lead", "planner", "worker")
_SLICE = 64

# A cycle has one attempt of the worker's at most, and an attempt is the rejected side of one row at most.
_CALLS = """
SELECT call.id, call.teacher, request.body, request.sha256, response.body, response.sha256,
  session.uid, call.step, call.cycle, session.status, step.status,
  attempt.id IS NOT NULL, attempt.response IS call.response,
  coalesce(rejection.reason,
    iif(EXISTS(SELECT 1 FROM pair WHERE chosen_id = attempt.id), 'accepted', NULL)),
  EXISTS(SELECT 1 FROM attempt WHERE step_id = step.id AND cycle = call.cycle AND cause = 'by_hand'),
  (SELECT verdict FROM feedback WHERE attempt_id = attempt.id ORDER BY id DESC LIMIT 1),
  EXISTS(SELECT 1 FROM agent_call AS later WHERE later.session_id = call.session_id AND later.id > call.id),
  EXISTS(SELECT 1 FROM agent_call AS later WHERE later.session_id = call.session_id AND later.id > call.id
    AND later.agent = call.agent AND later.status = 'ok'
    AND later.step IS call.step AND later.cycle IS call.cycle),
  (SELECT count(*) FROM step WHERE session_id = session.id),
  (SELECT count(*) FROM step WHERE session_id = session.id AND status = 'accepted')
FROM agent_call AS call
JOIN session ON session.id = call.session_id
JOIN text AS request ON request.id = call.request
JOIN text AS response ON response.id = call.response
LEFT JOIN step ON step.session_id = call.session_id AND step.n = call.step
LEFT JOIN attempt ON attempt.step_id = step.id AND attempt.cycle = call.cycle AND attempt.author = 'worker'
LEFT JOIN pair AS rejection ON rejection.rejected_id = attempt.id
WHERE call.agent = ? AND call.status = 'ok' AND call.id > ?
ORDER BY call.id
LIMIT ?
"""


@frozen
class _Found:
    """A record of the query above, in its order.

    Attributes:
        attempted: Whether the call's cycle has an attempt of the worker's.
        is_attempt: Whether that attempt is this very answer.
        fate: Why that attempt was rejected, or accepted.
        went_on: Whether anybody was asked after this call.
        asked_again: Whether the same agent gave another readable answer in the same cycle later.
    """

    id: int
    teacher: str
    request: str
    request_sha256: str
    response: str
    response_sha256: str
    session: str
    step: int | None
    cycle: int | None
    session_status: str
    step_status: str | None
    attempted: bool
    is_attempt: bool
    fate: str | None
    by_hand: bool
    verdict: str | None
    went_on: bool
    asked_again: bool
    steps: int
    accepted_steps: int

    @property
    def over(self) -> bool:
        """Whether the session has ended for good."""
        return self.session_status in ("done", "abandoned")


def read_calls(tables: Tables, agent: str, after: int) -> tuple[list[AgentCall], int, bool]:
    """A slice of an agent's readable calls with a known outcome, where it ends, and whether more may follow.

    Args:
        tables: Where.
        agent: One of `AGENTS`.
        after: Where the last slice ended; 0 for the first.

    Raises:
        StoreError: A text is not what was once stored.
    """
    slice_ = [_Found(*record) for record in tables.all(_CALLS, agent, after, _SLICE)]
    calls = [_call(tables, agent, found, outcome) for found in slice_ if (outcome := _outcome(agent, found))]
    return calls, slice_[-1].id if slice_ else after, len(slice_) == _SLICE


def _outcome(agent: str, found: _Found) -> str | None:
    """What came of a call; None when that is not known yet."""
    match agent:
        case "planner":
            return _of_plan(found)
        case "analyzer":
            return "unclear" if found.asked_again else found.verdict
        case "lead":
            if found.asked_again:
                return "discarded"
            return _of_attempt(found) or ("by_hand" if found.by_hand else _given_up(found))
        case _:
            # The last readable answer is what the attempt was made of, even where its stored response was put
            # in relation to another script, see `dorpo.rendering.render_answer`.
            if found.is_attempt or (found.attempted and not found.asked_again):
                return _of_attempt(found)
            return "discarded" if found.went_on or found.over else None


def _of_plan(found: _Found) -> str | None:
    if found.asked_again:
        return "discarded"
    if not found.over:
        return None
    if not found.accepted_steps:
        return "abandoned"
    return "accepted" if found.accepted_steps == found.steps else "partly_accepted"


def _of_attempt(found: _Found) -> str | None:
    return (found.fate or _given_up(found)) if found.attempted else None


def _given_up(found: _Found) -> str | None:
    return "abandoned" if found.step_status == "abandoned" or found.over else None


def _call(tables: Tables, agent: str, found: _Found, outcome: str) -> AgentCall:
    texts = ((found.request, found.request_sha256), (found.response, found.response_sha256))
    if any(checksum(text) != expected for text, expected in texts):
        raise StoreError(
            f"The dataset {tables.path} is damaged in the session {found.session}: delete that session."
        )
    return AgentCall(
        agent=agent,
        teacher=found.teacher,
        request=json.loads(found.request),
        response=found.response,
        outcome=outcome,
        session=found.session,
        step=found.step,
        cycle=found.cycle,
    )
