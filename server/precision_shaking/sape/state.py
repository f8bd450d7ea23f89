"""Where a session stands, and what has to happen next there. Pure, as `workflow`, which moves it on."""

from __future__ import annotations

from attrs import field, frozen

from precision_shaking.sape.happenings import (
    AskForHelp,
    AskLead,
    AskPlanner,
    AskUser,
    AskWorker,
    Execute,
    ReadFeedback,
    Task,
)
from precision_shaking.sape.routes import Routes
from precision_shaking.sape.vocabulary import Attempt, Limits, Phase, SessionStatus, Setback


class InvalidEventError(ValueError):
    """An event arrived in a phase that cannot take it."""


@frozen
class State:
    """Where a session stands.

    Attributes:
        current_script: The script that the agents work on; changes only on further edit and accept (a skipped
            step puts back what it began with).
        step: Index of the current step, -1 before there is a plan.
        cycle: Cycle within the step, 1 for the first.
        step_script: The current script when the step began; with the first instruction it is the prompt.
        teacher: Index of the worker's teacher for this step.
        failed: Failed attempts of this teacher at this step.
        unreadable: Unreadable answers in a row of this teacher.
        rejected: Scripts that bring the step no further: its attempts so far, each of which was rejected.
        retries: How often the user asked to try the step again after the last teacher had failed.
        unclear: Whether the analyzer could not tell what the user's words mean.
        routes: The instance's edges.
    """

    request: str
    current_script: str
    limits: Limits = field(factory=Limits)
    routes: Routes = field(factory=Routes)
    phase: Phase = Phase.PLANNING
    steps: tuple[str, ...] = ()
    step: int = -1
    cycle: int = 0
    step_script: str = ""
    instruction: str = ""
    setback: Setback | None = None
    attempt: Attempt | None = None
    words: str = ""
    amended: str | None = None
    document: str | None = None
    teacher: int = 0
    failed: int = 0
    unreadable: int = 0
    rejected: tuple[str, ...] = ()
    retries: int = 0
    unclear: bool = False
    status: SessionStatus | None = None

    @property
    def proposed(self) -> Attempt:
        """The attempt that is being executed or asked about.

        Raises:
            InvalidEventError: There is none.
        """
        if self.attempt is None:
            raise InvalidEventError(f"there is no attempt while {self.phase}")
        return self.attempt


def begin(request: str, script: str, limits: Limits, routes: Routes = Routes()) -> State:  # noqa: B008 - frozen
    """The state of a session that has not been planned yet."""
    return State(request=request, current_script=script, limits=limits, routes=routes)


def task(state: State) -> Task | None:
    """What has to happen next; None when the session is over."""
    match state.phase:
        case Phase.PLANNING:
            return AskPlanner(state.request, state.current_script)
        case Phase.INSTRUCTING:
            return AskLead(state.steps[state.step], state.current_script, state.setback)
        case Phase.WORKING:
            # Never 0 again after a retry: greedy decoding would only give the answers that failed.
            before = state.retries * (state.limits.max_attempts + state.limits.max_unreadable)
            repeat = before + state.failed + state.unreadable
            asked = state.instruction, state.current_script, state.teacher, state.setback
            return AskWorker(*asked, repeat, state.rejected)
        case Phase.EXECUTING:
            return Execute(state.proposed.script)
        case Phase.ASKING:
            return AskUser(state.proposed, state.unclear)
        case Phase.READING:
            return ReadFeedback(state.words, state.steps[state.step], state.proposed)
        case Phase.STUCK:
            return AskForHelp(state.steps[state.step])
        case Phase.FINISHED:
            return None
