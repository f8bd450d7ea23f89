"""The workflow: a table of every transition, and what holds whatever happens."""

from __future__ import annotations

from itertools import count

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from precision_shaking.sape import happenings as h
from precision_shaking.sape import workflow
from precision_shaking.sape.setbacks import repeats
from precision_shaking.sape.state import State, begin, task
from precision_shaking.sape.vocabulary import (
    Attempt,
    DecidedBy,
    Help,
    Limits,
    Outcome,
    Phase,
    Reason,
    SessionStatus,
    Setback,
    Verdict,
)

ATTEMPT = Attempt("a1", "response", "because", "print(1)\n")
LIMITS = Limits(teachers=2, max_attempts=2, max_unreadable=2, max_steps=3)
ACCEPT = h.Answered(Verdict.ACCEPTED)
REDO = h.Answered(Verdict.REDO, "no")
FURTHER = h.Answered(Verdict.FURTHER_EDIT, "more")


def at(phase: Phase, **changes) -> State:
    """A two-step session's state in this phase of its first step."""
    defaults = {"steps": ("one", "two"), "step": 0, "cycle": 1, "instruction": "do", "step_script": "old\n"}
    if phase in {Phase.EXECUTING, Phase.ASKING, Phase.READING}:
        defaults["attempt"] = ATTEMPT
    if phase is Phase.PLANNING:
        defaults = {}
    state = begin("request", "old\n", LIMITS)
    return evolve(state, phase=phase, **{**defaults, **changes})


LAST_STEP = {"step": 1}
LAST_TEACHER = {"teacher": 1}
SETBACK = Setback(Reason.REDO, "print(1)\n", "no")
OK = h.Executed(Outcome.OK)
BROKEN = h.Executed(Outcome.SCRIPT_ERROR, "Traceback")

TABLE = [
    # phase, state changes, event, next phase, records
    (Phase.PLANNING, {}, h.Planned(("a", "b")), Phase.INSTRUCTING, "PlanMade"),
    (Phase.PLANNING, {}, h.Planned(()), Phase.INSTRUCTING, "PlanMade"),
    (Phase.INSTRUCTING, {}, h.Instructed("do"), Phase.WORKING, "PromptFixed"),
    (Phase.INSTRUCTING, {"setback": SETBACK}, h.Instructed("redo"), Phase.WORKING, ""),
    (Phase.WORKING, {}, h.Produced(ATTEMPT), Phase.EXECUTING, "AttemptMade"),
    (Phase.WORKING, {}, h.Unreadable("cut"), Phase.WORKING, ""),
    (Phase.WORKING, {}, h.Unreadable("no key", hopeless=True), Phase.WORKING, "TeacherSwitched"),
    (Phase.WORKING, {"unreadable": 1}, h.Unreadable("cut"), Phase.WORKING, "TeacherSwitched"),
    (Phase.WORKING, {"unreadable": 1, **LAST_TEACHER}, h.Unreadable("cut"), Phase.STUCK, ""),
    (Phase.EXECUTING, {}, OK, Phase.ASKING, "AttemptExecuted"),
    (Phase.EXECUTING, {}, h.Executed(Outcome.TIMEOUT), Phase.ASKING, "AttemptExecuted"),
    (Phase.EXECUTING, {}, h.Executed(Outcome.SANDBOX_DENIED), Phase.ASKING, "AttemptExecuted"),
    (Phase.EXECUTING, {}, BROKEN, Phase.INSTRUCTING, "AttemptExecuted AttemptRejected"),
    (
        Phase.EXECUTING,
        {"failed": 1},
        BROKEN,
        Phase.INSTRUCTING,
        "AttemptExecuted AttemptRejected TeacherSwitched",
    ),
    (Phase.EXECUTING, {"failed": 1, **LAST_TEACHER}, BROKEN, Phase.STUCK, "AttemptExecuted AttemptRejected"),
    (Phase.ASKING, {}, h.Commented("hm"), Phase.READING, ""),
    (Phase.ASKING, {}, ACCEPT, Phase.INSTRUCTING, "FeedbackGiven StepAccepted"),
    (Phase.ASKING, LAST_STEP, ACCEPT, Phase.FINISHED, "FeedbackGiven StepAccepted SessionEnded"),
    (
        Phase.ASKING,
        {},
        h.Answered(Verdict.ACCEPTED, amended="print(2)\n"),
        Phase.INSTRUCTING,
        "FeedbackGiven AttemptRejected StepAccepted",
    ),
    (Phase.ASKING, {}, REDO, Phase.INSTRUCTING, "FeedbackGiven AttemptRejected"),
    (Phase.ASKING, {}, FURTHER, Phase.INSTRUCTING, "FeedbackGiven AttemptRejected"),
    (Phase.ASKING, {"failed": 1}, REDO, Phase.INSTRUCTING, "FeedbackGiven AttemptRejected TeacherSwitched"),
    (Phase.ASKING, {"failed": 1, **LAST_TEACHER}, REDO, Phase.STUCK, "FeedbackGiven AttemptRejected"),
    (Phase.READING, {}, ACCEPT, Phase.INSTRUCTING, "FeedbackGiven StepAccepted"),
    (Phase.READING, {}, REDO, Phase.INSTRUCTING, "FeedbackGiven AttemptRejected"),
    (Phase.READING, {}, h.Unclear(), Phase.ASKING, ""),
    (Phase.STUCK, {}, h.Helped(Help.RETRY), Phase.WORKING, ""),
    (Phase.STUCK, {"setback": SETBACK}, h.Helped(Help.RETRY), Phase.INSTRUCTING, ""),
    (Phase.STUCK, {}, h.Helped(Help.SKIP), Phase.INSTRUCTING, "StepAbandoned"),
    (Phase.STUCK, LAST_STEP, h.Helped(Help.SKIP), Phase.FINISHED, "StepAbandoned SessionEnded"),
    (Phase.STUCK, {}, h.Helped(Help.STOP), Phase.FINISHED, "StepAbandoned SessionEnded"),
    (Phase.STUCK, {}, h.Helped(Help.RETRY, "print(3)\n"), Phase.INSTRUCTING, "StepAccepted"),
    (Phase.PLANNING, {}, h.Stopped(), Phase.FINISHED, "SessionEnded"),
    *[
        (phase, {}, h.Stopped(), Phase.FINISHED, "StepAbandoned SessionEnded")
        for phase in Phase
        if phase not in {Phase.PLANNING, Phase.FINISHED}
    ],
]


@pytest.mark.parametrize(("phase", "changes", "event", "expected", "records"), TABLE)
def test_every_transition(phase, changes, event, expected, records):
    transition = workflow.advance(at(phase, **changes), event)
    assert transition.state.phase is expected
    assert [type(record).__name__ for record in transition.records] == records.split()


EVENTS = [
    h.Planned(("a",)),
    h.Instructed("do"),
    h.Produced(ATTEMPT),
    h.Unreadable("cut"),
    OK,
    h.Commented("hm"),
    ACCEPT,
    h.Unclear(),
    h.Helped(Help.RETRY),
    h.Stopped(),
]


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_everything_else_is_refused(phase, event):
    covered = {(row[0], type(row[2])) for row in TABLE}
    if (phase, type(event)) in covered:
        workflow.advance(at(phase), event)
    else:
        with pytest.raises(workflow.InvalidEventError):
            workflow.advance(at(phase), event)


TASKS = {
    Phase.PLANNING: h.AskPlanner,
    Phase.INSTRUCTING: h.AskLead,
    Phase.WORKING: h.AskWorker,
    Phase.EXECUTING: h.Execute,
    Phase.ASKING: h.AskUser,
    Phase.READING: h.ReadFeedback,
    Phase.STUCK: h.AskForHelp,
    Phase.FINISHED: type(None),
}


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_has_its_task(phase):
    assert isinstance(task(at(phase)), TASKS[phase])


def test_a_plan_is_trimmed_bounded_and_never_empty():
    planned = workflow.advance(at(Phase.PLANNING), h.Planned((" a ", "", "b", "c", "d"))).state
    assert planned.steps == ("a", "b", "c")
    assert workflow.advance(at(Phase.PLANNING), h.Planned(("1.", " "))).state.steps == ("request",)


def test_a_step_that_was_said_before_is_left_out():
    planned = workflow.advance(at(Phase.PLANNING), h.Planned(("Add a.", "b", " add  A", "c"))).state
    assert planned.steps == ("Add a.", "b", "c")


def test_a_further_edit_works_on_and_a_redo_starts_over():
    further = workflow.advance(at(Phase.ASKING), FURTHER).state
    redo = workflow.advance(at(Phase.ASKING), REDO).state
    assert (further.current_script, further.setback) == (
        ATTEMPT.script,
        Setback(Reason.FURTHER_EDIT, ATTEMPT.script, "more"),
    )
    assert (redo.current_script, redo.setback) == ("old\n", Setback(Reason.REDO, ATTEMPT.script, "no"))


def test_a_further_edit_of_an_amended_proposal_works_on_the_amended_text():
    answer = h.Answered(Verdict.FURTHER_EDIT, "more", amended="mine\n")
    assert workflow.advance(at(Phase.ASKING), answer).state.current_script == "mine\n"


def test_a_step_goes_on_from_what_the_document_holds_after_accepting():
    merged = h.Answered(Verdict.ACCEPTED, document="merged\n")
    assert workflow.advance(at(Phase.ASKING), merged).state.current_script == "merged\n"


def test_an_amendment_that_changes_nothing_is_none():
    answer = h.Answered(Verdict.ACCEPTED, amended=ATTEMPT.script)
    records = workflow.advance(at(Phase.ASKING), answer).records
    assert records[-1] == h.StepAccepted(0, 1, ATTEMPT, None)


def test_what_was_said_survives_an_unclear_reading_but_its_amendment_does_not():
    asked = workflow.advance(at(Phase.ASKING), h.Commented("hm", amended="mine\n")).state
    unclear = workflow.advance(asked, h.Unclear()).state
    assert task(unclear) == h.AskUser(ATTEMPT, unclear=True)
    feedback = workflow.advance(unclear, h.Answered(Verdict.ACCEPTED)).records[0]
    assert feedback == h.FeedbackGiven(ATTEMPT, h.Answered(Verdict.ACCEPTED, "hm", decided_by=DecidedBy.USER))


def test_words_and_amendment_reach_the_verdict_that_the_analyzer_read():
    asked = workflow.advance(at(Phase.ASKING), h.Commented("fine now", amended="mine\n")).state
    answer = h.Answered(Verdict.ACCEPTED, decided_by=DecidedBy.ANALYZER)
    feedback, rejected, accepted = workflow.advance(asked, answer).records[:3]
    assert (feedback.answer.words, feedback.answer.amended) == ("fine now", "mine\n")
    assert (rejected.reason, accepted.amended) == (Reason.AMENDED, "mine\n")


def test_a_retry_never_asks_for_an_answer_again_that_was_unreadable():
    state = evolve(at(Phase.WORKING), limits=Limits(teachers=1, max_attempts=1, max_unreadable=2))
    asked = []
    for event in [h.Unreadable("cut"), h.Unreadable("cut"), h.Helped(Help.RETRY), h.Unreadable("cut")]:
        if state.phase is Phase.WORKING:
            asked.append(task(state))
        state = workflow.advance(state, event).state
    assert [task.repeat for task in asked] == [0, 1, 3]


# What holds whatever happens


@st.composite
def sessions(draw):
    """A whole random session: its last state and every (state before, event, transition)."""
    limits = Limits(
        teachers=draw(st.integers(1, 3)),
        max_attempts=draw(st.integers(1, 3)),
        max_unreadable=draw(st.integers(1, 2)),
        max_steps=3,
    )
    state, uids, trail = begin("request", "script 0\n", limits), count(1), []
    for _ in range(draw(st.integers(1, 60))):
        if state.phase is Phase.FINISHED:
            break
        event = draw(events(state, uids))
        transition = workflow.advance(state, event)
        trail.append((state, event, transition))
        state = transition.state
    return state, trail


def events(state, uids):
    """What can happen next, stopping included."""
    n = next(uids)
    amended = st.sampled_from([None, f"amended {n}\n"])
    document = st.sampled_from([None, f"document {n}\n"])
    answered = st.builds(h.Answered, st.sampled_from(Verdict), st.just("words"), amended, document)
    possible = {
        Phase.PLANNING: st.builds(h.Planned, st.lists(st.sampled_from("abcd"), max_size=4).map(tuple)),
        Phase.INSTRUCTING: st.just(h.Instructed(f"instruction {n}")),
        Phase.WORKING: st.one_of(
            st.just(h.Produced(Attempt(f"a{n}", f"response {n}", "because", f"script {n}\n"))),
            st.just(h.Unreadable("cut")),
            st.just(h.Unreadable("no key", hopeless=True)),
        ),
        Phase.EXECUTING: st.builds(h.Executed, st.sampled_from(Outcome), st.just("output")),
        Phase.ASKING: st.one_of(answered, st.builds(h.Commented, st.just("words"), amended)),
        Phase.READING: st.one_of(answered, st.just(h.Unclear())),
        Phase.STUCK: st.builds(h.Helped, st.sampled_from(Help), st.sampled_from([None, f"by hand {n}\n"])),
    }[state.phase]
    return st.one_of(possible, possible, possible, possible, possible, st.just(h.Stopped()))


def records_of(trail):
    return [record for _, _, transition in trail for record in transition.records]


@given(sessions())
def test_all_rows_of_a_step_share_the_first_cycles_prompt(session):
    _, trail = session
    prompts: dict[int, h.PromptFixed] = {}
    for before, event, transition in trail:
        for record in transition.records:
            if isinstance(record, h.PromptFixed):
                assert record.step not in prompts
                assert isinstance(event, h.Instructed)
                assert record == h.PromptFixed(before.step, event.instruction, before.current_script)
                assert before.cycle == 1
                prompts[record.step] = record
            elif isinstance(record, h.AttemptRejected | h.AttemptMade):
                assert record.step in prompts


@given(sessions())
def test_an_accepted_step_has_a_row_for_each_failed_attempt_and_one_chosen(session):
    _, trail = session
    records = records_of(trail)
    accepted = [record for record in records if isinstance(record, h.StepAccepted)]
    assert len({record.step for record in accepted}) == len(accepted)
    for record in accepted:
        made = [r.attempt.uid for r in records if isinstance(r, h.AttemptMade) and r.step == record.step]
        rejected = [
            r.attempt.uid for r in records if isinstance(r, h.AttemptRejected) and r.step == record.step
        ]
        assert len(set(rejected)) == len(rejected)
        kept = [record.attempt.uid] if record.attempt and record.amended is None else []
        # Every attempt but the chosen one is one row's rejected; without any, the store makes one row.
        assert sorted(made) == sorted(rejected + kept)
        assert record.attempt is not None or record.amended is not None


@given(sessions())
def test_the_current_script_changes_only_on_further_edit_accept_and_skip(session):
    _, trail = session
    for before, event, transition in trail:
        if before.current_script == transition.state.current_script:
            continue
        skipped = isinstance(event, h.Helped) and event.choice is Help.SKIP
        by_hand = isinstance(event, h.Helped) and event.script is not None
        answered = isinstance(event, h.Answered) and event.verdict is not Verdict.REDO
        assert skipped or by_hand or answered
        if skipped and not by_hand:
            assert transition.state.current_script == before.step_script


@given(sessions())
def test_nothing_cancelled_unreadable_or_undecided_is_ever_a_label(session):
    _, trail = session
    for before, event, transition in trail:
        labels = [r for r in transition.records if isinstance(r, h.AttemptRejected | h.StepAccepted)]
        if not labels:
            continue
        script_error = isinstance(event, h.Executed) and event.outcome is Outcome.SCRIPT_ERROR
        by_hand = isinstance(event, h.Helped) and event.script is not None
        assert script_error or by_hand or isinstance(event, h.Answered)
        for record in labels:
            assert record.attempt == (None if by_hand else before.attempt)


@given(sessions())
def test_a_sandbox_refusal_is_never_an_error_row(session):
    _, trail = session
    for _, event, transition in trail:
        errors = [
            r for r in transition.records if isinstance(r, h.AttemptRejected) and r.reason is Reason.ERROR
        ]
        assert not errors or event.outcome is Outcome.SCRIPT_ERROR


@given(sessions())
def test_no_teacher_is_asked_twice_in_the_same_way(session):
    _, trail = session
    asked = set()
    for before, event, _ in trail:
        todo = task(before)
        if isinstance(todo, h.AskWorker) and isinstance(event, h.Produced | h.Unreadable):
            key = (before.step, todo.teacher, todo.instruction, todo.script, todo.repeat)
            assert key not in asked
            asked.add(key)
            assert 0 <= todo.teacher < before.limits.teachers


@given(sessions())
def test_the_worker_is_told_every_script_that_its_step_has_rejected(session):
    _, trail = session
    rejected: dict[int, list[str]] = {}
    for before, _, transition in trail:
        todo = task(before)
        if isinstance(todo, h.AskWorker):
            assert todo.rejected == tuple(dict.fromkeys(rejected.get(before.step, ())))
        for record in transition.records:
            if isinstance(record, h.AttemptRejected):
                known = rejected.setdefault(record.step, [])
                known.append(record.attempt.script)
                # What a further edit goes on from, which the user may have amended, has to change too.
                known += [transition.state.current_script] * (record.reason is Reason.FURTHER_EDIT)


LINES = st.lists(st.text("ab \t", max_size=4), min_size=1, max_size=4)
ENDS = st.sampled_from(["", " ", "\t", "  "])


@given(st.lists(LINES, max_size=3), LINES, st.data())
def test_a_script_is_known_again_whatever_its_lines_end_with(others, lines, data):
    again = "\n".join(line + data.draw(ENDS) for line in lines) + data.draw(
        st.sampled_from(["", "\n", "\n\n"])
    )
    rejected = ["\n".join(other) for other in others]
    assert repeats(again, [*rejected, "\n".join(lines)])
    assert repeats(again, rejected) == any(
        [line.rstrip() for line in "\n".join(lines).rstrip().split("\n")]
        == [line.rstrip() for line in other.rstrip().split("\n")]
        for other in rejected
    )


def test_indentation_and_empty_lines_make_another_script():
    assert not repeats("if a:\n  b\n  c\n", ["if a:\n  b\nc\n", "if a:\n\n  b\n  c\n", "\tif a:\n  b\n  c\n"])


@given(sessions())
@settings(max_examples=50)
def test_a_finished_session_says_once_how_it_ended(session):
    state, trail = session
    ends = [record for record in records_of(trail) if isinstance(record, h.SessionEnded)]
    assert len(ends) == (state.phase is Phase.FINISHED)
    if ends:
        assert ends[0].status is state.status
        assert state.status in SessionStatus
        assert task(state) is None
