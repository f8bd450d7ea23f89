"""From what a workflow wants recorded to the dataset. Nothing is told to anybody before it is stored here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from importlib.metadata import version

from attrs import evolve, field, frozen

from dorpo.rendering import region_request, render_answer
from dorpo.softlabels import spelling
from dorpo.store import AttemptRecord, AttemptRun, Said, Store, Usage
from precision_shaking.sape import happenings as h
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.execution import Execution
from precision_shaking.sape.journal import to_json
from precision_shaking.sape.state import State
from precision_shaking.sape.vocabulary import Attempt, Outcome
from precision_shaking.sape.wire import StartParams

BY_USER = "user"
# As many of the user's words as are looked through while they wait for the reading.
_REMEMBERED = 2000


@frozen
class Evidence:
    """What a session knows beyond the pure workflow.

    Attributes:
        teacher: Name of the worker's teacher.
        exchange: The worker's last call.
        seconds: How long it took.
        execution: The last run of an attempt.
    """

    teacher: str = ""
    exchange: Exchange | None = None
    seconds: float | None = None
    execution: Execution | None = None


@frozen
class Stored:
    """A record that is on disk now, and what it did to the dataset.

    Attributes:
        new_row: Whether it made a row.
        soft_labels: Whether its attempt has soft labels.
        step_rows: Complete rows of the step, after accepting.
        rows: Rows that the session has made so far.
        labelled: Those whose chosen text has soft labels.
        usage: What all its calls took, once it has ended.
    """

    record: h.Record
    new_row: bool = False
    soft_labels: bool = False
    step_rows: int = 0
    rows: int = 0
    labelled: int = 0
    usage: Usage = field(factory=Usage)


@frozen
class Recorder:
    """Writes one session into a store. Every method may raise dorpo.store.StoreError.

    It remembers nothing: a session that is resumed counts on from what is stored.
    """

    store: Store
    session: str

    def start(self, params: StartParams, settings: str | None) -> None:
        """Begin the session; `settings` are what it can be resumed with."""
        self.store.start_session(
            uid=self.session,
            document=params.document,
            language=params.language,
            request=params.request,
            script=params.script,
            instance=params.instance,
            app_version=version("precision-shaking"),
            settings=settings,
        )

    def resume(self, attempt: Attempt | None) -> Evidence:
        """Say that the session goes on; what was known of the attempt it is at."""
        self.store.reopen(self.session)
        if attempt is None:
            return Evidence()
        known = self.store.attempt_run(attempt.uid)
        return Evidence(teacher=known.teacher, execution=_execution(known))

    def crashed(self) -> None:
        """End the session as one that could not go on."""
        self.store.end_session(self.session, "crashed")

    def corrected(self, attempt: str, verdict: str) -> None:
        """Take the user's word for what they said of an attempt before."""
        self.store.relabel(attempt, verdict)

    def users_words(self) -> list[Said]:
        """What the user said in any session and decided themselves, newest first."""
        return self.store.users_words(_REMEMBERED)

    def called(
        self, agent: str, teacher: str, exchange: Exchange, status: str, seconds: float, state: State
    ) -> None:
        """Keep an agent's call, whatever came of it: ok, unreadable, error or cancelled."""
        self.store.add_agent_call(
            self.session,
            agent=agent,
            teacher=teacher,
            request=json.dumps(exchange.messages, ensure_ascii=False),
            response=exchange.text,
            status=status,
            input_tokens=exchange.input_tokens,
            output_tokens=exchange.output_tokens,
            seconds=seconds,
            cost_usd=exchange.cost_usd,
            step=state.step if state.step >= 0 else None,
            cycle=state.cycle or None,
        )

    def write(
        self, before: State, event: h.Event, records: Sequence[h.Record], evidence: Evidence
    ) -> list[Stored]:
        """Store the transition that an event made from `before`: all of it, or nothing."""
        with self.store.transaction():
            self.store.add_event(self.session, to_json(event))
            return [self._write(before, record, evidence) for record in records]

    def _write(self, before: State, record: h.Record, evidence: Evidence) -> Stored:
        match record:
            case h.PlanMade():
                self.store.add_steps(self.session, record.steps)
            case h.PromptFixed():
                self.store.fix_prompt(
                    self.session,
                    record.step,
                    instruction=record.instruction,
                    script=record.script,
                    max_whole_lines=before.limits.max_whole_lines,
                )
            case h.AttemptMade():
                self._attempt(before, record, evidence)
            case h.AttemptExecuted():
                self._run(record, evidence)
            case h.FeedbackGiven(attempt, answer):
                self.store.add_feedback(
                    attempt.uid, words=answer.words, verdict=answer.verdict, decided_by=answer.decided_by
                )
            case h.AttemptRejected():
                return self._reject(record)
            case h.StepAccepted():
                return self._accept(before, record)
            case h.StepAbandoned():
                self.store.abandon_step(self.session, record.step)
            case h.SessionEnded():
                self.store.end_session(self.session, record.status)
                return self.ended(record)
            case h.TeacherSwitched():
                pass  # the next attempt names its teacher
        return self._stored(record)

    def _attempt(self, before: State, record: h.AttemptMade, evidence: Evidence) -> None:
        exchange = evidence.exchange or Exchange([])
        response = _as_answer_to_the_prompt(before, record.attempt)
        self.store.add_attempt(
            self.session,
            record.step,
            AttemptRecord(
                uid=record.attempt.uid,
                cycle=record.cycle,
                cause=before.setback.reason if before.setback else "first",
                instruction=before.instruction,
                base_script=before.current_script,
                response=response,
                reasoning=record.attempt.reasoning,
                script=record.attempt.script,
                teacher=evidence.teacher,
                finish_reason=exchange.finish_reason,
                input_tokens=exchange.input_tokens,
                output_tokens=exchange.output_tokens,
                seconds=evidence.seconds,
                soft_labels=spelling(exchange.scores, response),
            ),
        )

    def _run(self, record: h.AttemptExecuted, evidence: Evidence) -> None:
        execution = evidence.execution
        if execution is not None:
            self.store.add_run(
                record.attempt.uid,
                backend=execution.backend,
                outcome=execution.outcome,
                exit_code=execution.exit_code,
                output=execution.output,
                seconds=execution.seconds,
            )

    def _reject(self, record: h.AttemptRejected) -> Stored:
        uid = record.attempt.uid
        self.store.reject(uid, record.reason)
        labelled = self.store.has_soft_labels(uid)
        return evolve(self._stored(record), new_row=True, soft_labels=labelled)

    def _accept(self, before: State, record: h.StepAccepted) -> Stored:
        uid = record.attempt.uid if record.attempt else ""
        if record.amended is not None:
            uid = str(uuid.uuid4())
            self.store.add_attempt(self.session, record.step, _users_attempt(uid, before, record))
        known = self.store.tally(self.session).rows
        rows = self.store.accept(self.session, record.step, uid)
        stored = self._stored(record)
        # Without a rejected attempt, accepting made the step's only row.
        return evolve(
            stored,
            new_row=stored.rows > known,
            soft_labels=self.store.has_soft_labels(uid),
            step_rows=len(rows),
        )

    def ended(self, record: h.SessionEnded) -> Stored:
        """What the whole session has brought and taken."""
        return evolve(self._stored(record), usage=Usage.total(self.store.usage(self.session)))

    def _stored(self, record: h.Record) -> Stored:
        tally = self.store.tally(self.session)
        return Stored(record, rows=tally.rows, labelled=tally.labelled)


def _users_attempt(uid: str, before: State, record: h.StepAccepted) -> AttemptRecord:
    """The text that the user made of a proposal, or of a step that no teacher could do."""
    script = record.amended or ""
    if record.attempt is not None:
        reasoning, cause = record.attempt.reasoning, "amended"
    else:
        reasoning, cause = f"This does the step: {before.steps[before.step]}", "by_hand"
    response = render_answer(reasoning, script, before.step_script, before.limits.max_whole_lines)
    return AttemptRecord(
        uid=uid,
        cycle=record.cycle,
        cause=cause,
        instruction=before.instruction,
        base_script=before.current_script,
        response=response,
        reasoning=reasoning,
        script=script,
        teacher=BY_USER,
        author=BY_USER,
    )


def _as_answer_to_the_prompt(state: State, attempt: Attempt) -> str:
    """The attempt's response; after a further edit, regions would change another script than the prompt's."""
    limit, scripts = state.limits.max_whole_lines, {state.step_script, state.current_script}
    if len(scripts) == 1 or all(region_request("", script, limit) is None for script in scripts):
        return attempt.response
    return render_answer(attempt.reasoning, attempt.script, state.step_script, limit)


def _execution(known: AttemptRun) -> Execution | None:
    """The last run of an attempt as it was stored."""
    if known.outcome is None:
        return None
    return Execution(
        Outcome(known.outcome),
        known.output or "",
        known.exit_code,
        known.seconds or 0.0,
        known.backend or "",
        "",
    )
