"""What a session tells its audience: one frozen class per event.

Steps are counted from 0, cycles from 1. An event is emitted only after what it reports has been stored.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen


@frozen
class SessionStarted:
    """A session began; `teachers` is the pool in the order it is used."""

    kind: ClassVar[str] = "session_started"
    session: str
    document: str
    request: str
    teachers: tuple[str, ...]


@frozen
class AgentStarted:
    """An agent was asked; `step` and `cycle` are None while planning."""

    kind: ClassVar[str] = "agent_started"
    agent: str
    teacher: str
    step: int | None
    cycle: int | None


@frozen
class AgentText:
    """A piece of an agent's answer, while it is being written."""

    kind: ClassVar[str] = "agent_text"
    agent: str
    field: str
    text: str


@frozen
class AgentFinished:
    """An agent answered, whether readable or not."""

    kind: ClassVar[str] = "agent_finished"
    agent: str
    teacher: str
    seconds: float
    input_tokens: int | None
    output_tokens: int | None


@frozen
class TeacherWaiting:
    """A teacher failed, and will be asked again.

    Attributes:
        seconds: From now until then.
        why: One sentence for the user.
        trouble: The same in a word: one of `retrying.Trouble`.
    """

    kind: ClassVar[str] = "teacher_waiting"
    teacher: str
    seconds: float
    why: str
    trouble: str


@frozen
class PlanReady:
    """The change request was divided into these steps."""

    kind: ClassVar[str] = "plan_ready"
    steps: tuple[str, ...]


@frozen
class StepStarted:
    """Work on a step began."""

    kind: ClassVar[str] = "step_started"
    step: int
    text: str


@frozen
class InstructionReady:
    """The lead wrote the worker's instruction for this cycle."""

    kind: ClassVar[str] = "instruction_ready"
    step: int
    cycle: int
    instruction: str


@frozen
class AnswerUnreadable:
    """The worker's answer cannot be used; it is neither shown nor a label."""

    kind: ClassVar[str] = "answer_unreadable"
    step: int
    cycle: int
    teacher: str
    why: str


@frozen
class AttemptExecuted:
    """An attempt was run in the sandbox; `outcome` is one of `vocabulary.Outcome`."""

    kind: ClassVar[str] = "attempt_executed"
    step: int
    cycle: int
    attempt: str
    outcome: str
    exit_code: int | None
    output: str
    seconds: float
    backend: str
    detail: str


@frozen
class ProposalReady:
    """A script waits for the user's answer.

    Attributes:
        base: What the user's document holds: the last accepted text, which a further edit does not change.
        script: The proposed text.
        unclear: The user's words could not be read as a verdict: the same proposal is asked about again.
        warnings: Sentences on what the script holds that a diff does not show.
    """

    kind: ClassVar[str] = "proposal_ready"
    step: int
    cycle: int
    attempt: str
    base: str
    script: str
    reasoning: str
    teacher: str
    outcome: str
    output: str
    unclear: bool
    warnings: tuple[str, ...] = ()


@frozen
class FeedbackRead:
    """The user's answer was understood; `decided_by` is `user` (a button) or `analyzer` (free words)."""

    kind: ClassVar[str] = "feedback_read"
    attempt: str
    verdict: str
    decided_by: str
    words: str


@frozen
class RowWritten:
    """A dataset row was stored.

    Attributes:
        reason: Why its rejected side was rejected; None when it has none.
        soft_labels: Whether the teacher's log-probabilities were stored with the attempt.
        rows: Rows this session has written so far.
    """

    kind: ClassVar[str] = "row_written"
    step: int
    reason: str | None
    soft_labels: bool
    rows: int


@frozen
class StepAccepted:
    """A step was accepted with this text; `rows` of the step are complete now."""

    kind: ClassVar[str] = "step_accepted"
    step: int
    script: str
    rows: int


@frozen
class StepRestored:
    """A step was accepted before its session broke off: the document was left with this text, or almost."""

    kind: ClassVar[str] = "step_restored"
    step: int
    script: str


@frozen
class TeacherSwitched:
    """The worker moved on to this teacher."""

    kind: ClassVar[str] = "teacher_switched"
    step: int
    teacher: str


@frozen
class HelpNeeded:
    """Every teacher failed at the step.

    Attributes:
        choices: What the user may answer, beside a text of their own.
        base: What the user's document holds: the last accepted text.
        script: Where a text of their own begins: what the agents work on, further edits included.
    """

    kind: ClassVar[str] = "help_needed"
    step: int
    text: str
    choices: tuple[str, ...]
    base: str
    script: str


@frozen
class SessionFinished:
    """The session ended (`done` or `abandoned`).

    Attributes:
        script: The last accepted text.
        rows: Rows that the session wrote.
        soft_labels: How many of them have the teacher's log-probabilities of the chosen text.
        calls: Calls of its agents, with the tokens and the seconds they took.
        cost_usd: What those cost whose price is known; None when none is.
        unpriced_calls: How many calls that leaves out.
    """

    kind: ClassVar[str] = "session_finished"
    session: str
    status: str
    script: str
    rows: int
    soft_labels: int
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cost_usd: float | None = None
    unpriced_calls: int = 0


@frozen
class SessionFailed:
    """The session cannot go on; `message` is one sentence for the user."""

    kind: ClassVar[str] = "session_failed"
    session: str
    message: str


@frozen
class Scoring:
    """Texts that have no soft labels are scored while nothing else is done, after the session's end too.

    Attributes:
        teacher: The model that scores them.
        waiting: How many are left; told before each one, and 0 once all are done.
        rows: Rows that the session wrote.
        soft_labels: How many of them have soft labels of the chosen text by now.
    """

    kind: ClassVar[str] = "scoring"
    session: str
    teacher: str
    waiting: int
    rows: int
    soft_labels: int


@frozen
class ScoringFailed:
    """Texts stay without soft labels, for what `message` says in a sentence; the session goes on."""

    kind: ClassVar[str] = "scoring_failed"
    session: str
    message: str


SessionEvent = (
    SessionStarted
    | AgentStarted
    | AgentText
    | AgentFinished
    | TeacherWaiting
    | PlanReady
    | StepStarted
    | InstructionReady
    | AnswerUnreadable
    | AttemptExecuted
    | ProposalReady
    | FeedbackRead
    | RowWritten
    | StepAccepted
    | StepRestored
    | TeacherSwitched
    | HelpNeeded
    | SessionFinished
    | SessionFailed
    | Scoring
    | ScoringFailed
)
