"""From a stored transition of the workflow to the events that tell of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from precision_shaking.sape import events as e
from precision_shaking.sape import happenings as h
from precision_shaking.sape.hidden import hidden_characters
from precision_shaking.sape.recorder import Evidence, Stored
from precision_shaking.sape.resuming import Resumed
from precision_shaking.sape.state import State
from precision_shaking.sape.vocabulary import Help, Phase, SessionStatus

# Where the lead has written the cycle's instruction.
_INSTRUCTED = (Phase.WORKING, Phase.EXECUTING, Phase.ASKING, Phase.READING)


def narrate(
    session: str,
    teachers: Sequence[str],
    before: State,
    event: h.Event,
    after: State,
    stored: Sequence[Stored],
    evidence: Evidence,
) -> Iterator[e.SessionEvent]:
    """What there is to tell, in order.

    Args:
        session: Its uid.
        teachers: Names of the pool.
        before: The state that `event` was applied to.
        event: What happened.
        after: The state it led to.
        stored: The transition's records, as they were stored.
        evidence: What is known of the worker's answer and its run.
    """
    if isinstance(event, h.Instructed):
        yield e.InstructionReady(before.step, before.cycle, event.instruction)
    elif isinstance(event, h.Unreadable):
        yield e.AnswerUnreadable(before.step, before.cycle, teachers[before.teacher], event.why)
    for record in stored:
        yield from _of_record(session, teachers, before, after, record, evidence)
    if after.phase is Phase.FINISHED:
        return
    if after.step != before.step:
        yield e.StepStarted(after.step, after.steps[after.step])
    yield from _question(after, evidence)


def retell(
    resumed: Resumed, evidence: Evidence, ended: Callable[[h.SessionEnded], Stored]
) -> Iterator[e.SessionEvent]:
    """What a client must hear to show a resumed session as it was: what is behind it only in short.

    Args:
        resumed: The session.
        evidence: What is known of the attempt it is at.
        ended: Counts what the session has brought, where it is done.
    """
    standing, params = resumed.standing, resumed.params
    state, names = standing.state, tuple(teacher.name for teacher in params.teachers)
    yield e.SessionStarted(resumed.uid, params.document, params.request, names)
    if state.steps:
        yield e.PlanReady(state.steps)
    for step, script in enumerate(standing.kept):
        yield e.StepStarted(step, state.steps[step])
        if script is not None:
            yield e.StepRestored(step, script)
    if state.status is not None:
        stored = ended(h.SessionEnded(state.status))
        yield from _of_record(resumed.uid, names, state, state, stored, evidence)
    elif state.step >= 0:
        yield e.StepStarted(state.step, state.steps[state.step])
        if state.phase in _INSTRUCTED:
            yield e.InstructionReady(state.step, state.cycle, state.instruction)
        yield from _question(state, evidence)


def _question(state: State, evidence: Evidence) -> Iterator[e.SessionEvent]:
    """What the user is asked now, if anything."""
    if state.phase is Phase.ASKING:
        yield _proposal(state, evidence)
    elif state.phase is Phase.STUCK:
        yield e.HelpNeeded(
            state.step, state.steps[state.step], tuple(Help), state.step_script, state.current_script
        )


def _of_record(
    session: str, teachers: Sequence[str], before: State, after: State, stored: Stored, evidence: Evidence
) -> Iterator[e.SessionEvent]:
    match stored.record:
        case h.PlanMade(steps):
            yield e.PlanReady(steps)
        case h.AttemptExecuted(attempt):
            run = evidence.execution
            if run is not None:
                yield e.AttemptExecuted(
                    before.step,
                    before.cycle,
                    attempt.uid,
                    run.outcome,
                    run.exit_code,
                    run.output,
                    run.seconds,
                    run.backend,
                    run.detail,
                )
        case h.FeedbackGiven(attempt, answer):
            yield e.FeedbackRead(attempt.uid, answer.verdict, answer.decided_by, answer.words)
        case h.AttemptRejected(step, _, reason):
            yield e.RowWritten(step, reason, stored.soft_labels, stored.rows)
        case h.StepAccepted(step, _, attempt, amended):
            if stored.new_row:
                yield e.RowWritten(step, None, stored.soft_labels, stored.rows)
            script = amended if amended is not None else attempt.script if attempt is not None else ""
            yield e.StepAccepted(step, script, stored.step_rows)
        case h.TeacherSwitched(step, teacher):
            yield e.TeacherSwitched(step, teachers[teacher])
        case h.SessionEnded(status):
            script = after.current_script if status is SessionStatus.DONE else _last_accepted(after)
            yield e.SessionFinished(
                session,
                status,
                script,
                stored.rows,
                stored.labelled,
                stored.usage.calls,
                stored.usage.input_tokens,
                stored.usage.output_tokens,
                round(stored.usage.seconds, 3),
                stored.usage.cost_usd,
                stored.usage.unpriced_calls,
            )


def _last_accepted(state: State) -> str:
    return state.step_script if state.step >= 0 else state.current_script


def _proposal(state: State, evidence: Evidence) -> e.ProposalReady:
    attempt, run = state.attempt, evidence.execution
    if attempt is None:
        raise ValueError("there is nothing to propose")
    return e.ProposalReady(
        step=state.step,
        cycle=state.cycle,
        attempt=attempt.uid,
        # A further edit changes what the agents work on, not what the user's document holds.
        base=state.step_script,
        script=attempt.script,
        reasoning=attempt.reasoning,
        teacher=evidence.teacher,
        outcome=run.outcome if run else "",
        output=run.output if run else "",
        unclear=state.unclear,
        warnings=hidden_characters(state.step_script, attempt.script),
    )
