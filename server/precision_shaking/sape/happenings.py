"""What a workflow takes in (events), asks for (tasks) and wants stored (records)."""

from __future__ import annotations

from attrs import frozen

from precision_shaking.sape.vocabulary import (
    Attempt,
    DecidedBy,
    Help,
    Outcome,
    Reason,
    SessionStatus,
    Setback,
    Verdict,
)

# What can happen


@frozen
class Planned:
    """The planner answered."""

    steps: tuple[str, ...]


@frozen
class Instructed:
    """The lead answered."""

    instruction: str


@frozen
class Produced:
    """The worker answered with a readable script."""

    attempt: Attempt


@frozen
class Unreadable:
    """The worker's answer was truncated, empty, refused or not in the asked form, or none came.

    Attributes:
        why: One sentence for the user.
        hopeless: Asking the same teacher again cannot help (its key is refused, nobody answers).
    """

    why: str
    hopeless: bool = False


@frozen
class Executed:
    """The attempt's script was run."""

    outcome: Outcome
    output: str = ""


@frozen
class Commented:
    """The user said something in their own words; the analyzer has to read it. Fields as in `Answered`."""

    words: str
    amended: str | None = None
    document: str | None = None


@frozen
class Answered:
    """The user's verdict is known.

    Attributes:
        amended: The proposal's text as the user left it, when they changed it.
        document: What the document holds now, when it is not the accepted text (it was edited elsewhere).
    """

    verdict: Verdict
    words: str = ""
    amended: str | None = None
    document: str | None = None
    decided_by: DecidedBy = DecidedBy.USER


@frozen
class Unclear:
    """The analyzer could not tell what the user's words mean."""


@frozen
class Helped:
    """The user chose how to go on after the last teacher failed.

    Attributes:
        script: Their own solution of the step; with one, the choice says nothing.
        document: As in `Answered`.
    """

    choice: Help
    script: str | None = None
    document: str | None = None


@frozen
class Stopped:
    """The user ended the session."""


Event = (
    Planned
    | Instructed
    | Produced
    | Unreadable
    | Executed
    | Commented
    | Answered
    | Unclear
    | Helped
    | Stopped
)

# What has to be recorded


@frozen
class PlanMade:
    """The session has these steps."""

    steps: tuple[str, ...]


@frozen
class PromptFixed:
    """The step's prompt, the same for all of its rows: the first cycle's instruction and script."""

    step: int
    instruction: str
    script: str


@frozen
class AttemptMade:
    """The worker produced something readable."""

    step: int
    cycle: int
    attempt: Attempt


@frozen
class AttemptExecuted:
    """The attempt was run."""

    attempt: Attempt
    run: Executed


@frozen
class FeedbackGiven:
    """The user's answer to a proposal, as it was understood."""

    attempt: Attempt
    answer: Answered


@frozen
class AttemptRejected:
    """One row: the step's prompt with this attempt as rejected."""

    step: int
    attempt: Attempt
    reason: Reason


@frozen
class StepAccepted:
    """Every row of the step gets this text as chosen; without any, one row with an empty rejected is made.

    Attributes:
        attempt: The accepted attempt; None when the user solved the step by hand.
        amended: The accepted text where it is the user's and not the attempt's.
    """

    step: int
    cycle: int
    attempt: Attempt | None
    amended: str | None


@frozen
class StepAbandoned:
    """The step ended without an accepted attempt: its rows never get a chosen."""

    step: int


@frozen
class TeacherSwitched:
    """The worker moved to the next teacher of its pool."""

    step: int
    teacher: int


@frozen
class SessionEnded:
    """Nothing more happens."""

    status: SessionStatus


Record = (
    PlanMade
    | PromptFixed
    | AttemptMade
    | AttemptExecuted
    | FeedbackGiven
    | AttemptRejected
    | StepAccepted
    | StepAbandoned
    | TeacherSwitched
    | SessionEnded
)

# What has to happen next


@frozen
class AskPlanner:
    """Divide the change request into steps."""

    request: str
    script: str


@frozen
class AskLead:
    """Write the worker's instruction."""

    step: str
    script: str
    setback: Setback | None


@frozen
class AskWorker:
    """Produce a script with the teacher at this place of the pool; none of the step's `rejected` ones."""

    instruction: str
    script: str
    teacher: int
    setback: Setback | None
    repeat: int = 0
    rejected: tuple[str, ...] = ()


@frozen
class Execute:
    """Run the script."""

    script: str


@frozen
class AskUser:
    """Show the proposal and wait for an answer."""

    attempt: Attempt
    unclear: bool


@frozen
class ReadFeedback:
    """Find out which verdict the user's words mean."""

    words: str
    step: str
    attempt: Attempt


@frozen
class AskForHelp:
    """Every teacher failed at the step: ask the user how to go on."""

    step: str


Task = AskPlanner | AskLead | AskWorker | Execute | AskUser | ReadFeedback | AskForHelp
