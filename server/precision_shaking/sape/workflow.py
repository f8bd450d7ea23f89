"""The SAPE workflow as a pure state machine: no input or output, no clock, no model.

`advance(state, event)` returns the next state and what must be recorded; `state.task(state)` says what has to
happen next. Everything a session does is one of these tasks, and everything it learns is one of these events.

Source: the white paper's "Precision Shaking" mechanism.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from precision_shaking.sape.happenings import (
    Answered,
    AttemptExecuted,
    AttemptMade,
    AttemptRejected,
    Commented,
    Event,
    Executed,
    FeedbackGiven,
    Helped,
    Instructed,
    PlanMade,
    Planned,
    Produced,
    PromptFixed,
    Record,
    SessionEnded,
    StepAbandoned,
    StepAccepted,
    Stopped,
    TeacherSwitched,
    Unclear,
    Unreadable,
)
from precision_shaking.sape.routes import Place, Routes
from precision_shaking.sape.state import InvalidEventError, State
from precision_shaking.sape.vocabulary import (
    Attempt,
    Help,
    Outcome,
    Phase,
    Reason,
    SessionStatus,
    Setback,
    Verdict,
)


@frozen
class Transition:
    """The next state, and what must be stored before anybody is told of it."""

    state: State
    records: tuple[Record, ...] = ()


def advance(state: State, event: Event) -> Transition:
    """Apply one event.

    Raises:
        InvalidEventError: The event cannot happen in this phase.
    """
    if isinstance(event, Stopped) and state.phase is not Phase.FINISHED:
        return _end(state, SessionStatus.ABANDONED)
    handler = _HANDLERS.get((state.phase, type(event)))
    if handler is None:
        raise InvalidEventError(f"{type(event).__name__} cannot happen while {state.phase}")
    return handler(state, event)


def _planned(state: State, event: Planned) -> Transition:
    steps = _distinct(event.steps)[: state.limits.max_steps] or (state.request,)
    return Transition(_open_step(evolve(state, steps=steps), 0), (PlanMade(steps),))


def _distinct(steps: tuple[str, ...]) -> tuple[str, ...]:
    """The steps in their order, without those that say nothing or were said before: small models do both."""
    by_words: dict[str, str] = {}
    for step in filter(_says_something, steps):
        by_words.setdefault(" ".join(step.lower().split()).rstrip("."), step.strip())
    return tuple(by_words.values())


def _says_something(step: str) -> bool:
    return any(map(str.isalpha, step))


def _open_step(state: State, step: int) -> State:
    return evolve(
        state,
        phase=Phase.INSTRUCTING,
        step=step,
        cycle=1,
        step_script=state.current_script,
        instruction="",
        setback=None,
        attempt=None,
        words="",
        amended=None,
        document=None,
        teacher=0,
        failed=0,
        unreadable=0,
        rejected=(),
        retries=0,
        unclear=False,
    )


def _instructed(state: State, event: Instructed) -> Transition:
    next_state = evolve(state, phase=Phase.WORKING, instruction=event.instruction, attempt=None, unreadable=0)
    # A setback means that the step has its prompt already.
    if state.setback is not None:
        return Transition(next_state)
    return Transition(next_state, (PromptFixed(state.step, event.instruction, state.step_script),))


def _produced(state: State, event: Produced) -> Transition:
    next_state = evolve(state, phase=Phase.EXECUTING, attempt=event.attempt, unreadable=0)
    return Transition(next_state, (AttemptMade(state.step, state.cycle, event.attempt),))


def _unreadable(state: State, event: Unreadable) -> Transition:
    count = state.unreadable + 1
    if count < state.limits.max_unreadable and not event.hopeless:
        return Transition(evolve(state, unreadable=count))
    return _next_teacher(state)


def _executed(state: State, event: Executed) -> Transition:
    attempt = state.proposed
    record = AttemptExecuted(attempt, event)
    if event.outcome is not Outcome.SCRIPT_ERROR or state.routes.error is Place.USER:
        return Transition(evolve(state, phase=Phase.ASKING, unclear=False), (record,))
    failed = _fail(state, Setback(Reason.ERROR, attempt.script, event.output))
    return Transition(failed.state, (record, *failed.records))


def _commented(state: State, event: Commented) -> Transition:
    said = evolve(state, words=event.words, amended=event.amended, document=event.document)
    if state.routes.words is Place.USER:
        return _unclear(said, Unclear())
    return Transition(evolve(said, phase=Phase.READING))


def _unclear(state: State, event: Unclear) -> Transition:  # noqa: ARG001 (carries nothing)
    # The next answer says itself what the user made of the proposal's text; what they said stays.
    return Transition(evolve(state, phase=Phase.ASKING, amended=None, document=None, unclear=True))


def _answered(state: State, event: Answered) -> Transition:
    attempt = state.proposed
    words = event.words or state.words
    amended = event.amended if event.amended is not None else state.amended
    if amended == attempt.script:
        amended = None
    answer = evolve(event, words=words, amended=amended)
    feedback = FeedbackGiven(attempt, answer)
    if event.verdict is Verdict.ACCEPTED:
        document = event.document if event.document is not None else state.document
        transition = _accept(state, attempt, amended, document)
    elif event.verdict is Verdict.REDO:
        transition = _fail(state, Setback(Reason.REDO, attempt.script, words))
    else:
        script = attempt.script if amended is None else amended
        transition = _fail(state, Setback(Reason.FURTHER_EDIT, script, words))
        transition = evolve(transition, state=evolve(transition.state, current_script=script))
    return evolve(transition, records=(feedback, *transition.records))


def _accept(state: State, attempt: Attempt | None, amended: str | None, document: str | None) -> Transition:
    records: list[Record] = []
    if attempt is not None and amended is not None:
        records.append(AttemptRejected(state.step, attempt, Reason.AMENDED))
    records.append(StepAccepted(state.step, state.cycle, attempt, amended))
    accepted = amended if amended is not None else state.proposed.script
    script = document if document is not None else accepted
    return _close_step(evolve(state, current_script=script), records)


def _fail(state: State, setback: Setback) -> Transition:
    """Make the attempt a rejected one, and begin the next cycle or bring in the next teacher."""
    attempt = state.proposed
    record = AttemptRejected(state.step, attempt, setback.reason)
    next_state = evolve(
        state,
        phase=_after(state.routes, setback.reason),
        cycle=state.cycle + 1,
        setback=setback,
        attempt=None,
        words="",
        amended=None,
        document=None,
        failed=state.failed + 1,
        # After a further edit of an amended text, that one too: it is what has to change.
        rejected=tuple(dict.fromkeys((*state.rejected, attempt.script, setback.script))),
        unclear=False,
    )
    if next_state.failed < state.limits.max_attempts:
        return Transition(next_state, (record,))
    switched = _next_teacher(next_state)
    return Transition(switched.state, (record, *switched.records))


def _after(routes: Routes, reason: Reason) -> Phase:
    """Where a setback leads: to a new instruction, or back to the worker with the old one."""
    to = {Reason.ERROR: routes.error, Reason.REDO: routes.redo, Reason.FURTHER_EDIT: routes.further_edit}
    return Phase.WORKING if to.get(reason) is Place.WORKER else Phase.INSTRUCTING


def _next_teacher(state: State) -> Transition:
    teacher = state.teacher + 1
    if teacher >= state.limits.teachers:
        return Transition(evolve(state, phase=Phase.STUCK))
    next_state = evolve(state, teacher=teacher, failed=0, unreadable=0)
    return Transition(next_state, (TeacherSwitched(state.step, teacher),))


def _helped(state: State, event: Helped) -> Transition:
    if event.script is not None:
        return _accept(evolve(state, attempt=None), None, event.script, event.document)
    if event.choice is Help.STOP:
        return _end(state, SessionStatus.ABANDONED)
    if event.choice is Help.SKIP:
        # Nothing of a skipped step stays: what it changed was never accepted.
        restored = evolve(state, current_script=state.step_script)
        return _close_step(restored, [StepAbandoned(state.step)])
    retry = evolve(state, teacher=0, failed=0, unreadable=0, retries=state.retries + 1, attempt=None)
    phase = _after(state.routes, state.setback.reason) if state.setback else Phase.WORKING
    return Transition(evolve(retry, phase=phase))


def _close_step(state: State, records: list[Record]) -> Transition:
    if state.step + 1 < len(state.steps):
        return Transition(_open_step(state, state.step + 1), tuple(records))
    ended = evolve(state, phase=Phase.FINISHED, attempt=None, setback=None, status=SessionStatus.DONE)
    return Transition(ended, (*records, SessionEnded(SessionStatus.DONE)))


def _end(state: State, status: SessionStatus) -> Transition:
    records: tuple[Record, ...] = (SessionEnded(status),)
    if state.step >= 0:
        records = (StepAbandoned(state.step), *records)
    return Transition(evolve(state, phase=Phase.FINISHED, attempt=None, status=status), records)


_HANDLERS: dict[tuple[Phase, type], Callable[..., Transition]] = {
    (Phase.PLANNING, Planned): _planned,
    (Phase.INSTRUCTING, Instructed): _instructed,
    (Phase.WORKING, Produced): _produced,
    (Phase.WORKING, Unreadable): _unreadable,
    (Phase.EXECUTING, Executed): _executed,
    (Phase.ASKING, Commented): _commented,
    (Phase.ASKING, Answered): _answered,
    (Phase.READING, Answered): _answered,
    (Phase.READING, Unclear): _unclear,
    (Phase.STUCK, Helped): _helped,
}
