"""What a session is doing, as a progress: shown while agents work, gone while the user is asked.

Only for editors without a client of ours, which shows the same events in its own way.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from attrs import define, field

from precision_shaking.lsp.progress import Bar, progress
from precision_shaking.sape.events import (
    AgentStarted,
    AnswerUnreadable,
    AttemptExecuted,
    HelpNeeded,
    ProposalReady,
    SessionEvent,
    SessionFailed,
    SessionFinished,
    StepStarted,
    TeacherSwitched,
    TeacherWaiting,
)

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server
    from precision_shaking.lsp.sessions import Session


@define(eq=False)
class Activity:
    """The progress of one session."""

    _server: Server
    _session: Session
    _bar: Bar | None = None
    _open: AsyncExitStack = field(factory=AsyncExitStack)

    async def follow(self, event: SessionEvent) -> None:
        """Show, change or end the progress."""
        if self._server.settings.client_commands:
            return
        if isinstance(event, ProposalReady | HelpNeeded | SessionFinished | SessionFailed):
            await self.end()
        elif message := _message(event):
            if self._bar is None:
                bar = progress(self._server, "Precision Shaking", None, self._stop, measured=False)
                self._bar = await self._open.enter_async_context(bar)
            self._bar.report(message)

    async def end(self) -> None:
        """End the progress, if there is one."""
        self._bar = None
        await self._open.aclose()

    def _stop(self) -> None:
        self._server.run_task(self._session.engine.stop(), "stop a session")


def _message(event: SessionEvent) -> str:
    match event:
        case AgentStarted(agent=agent, teacher=teacher):
            return f"{agent} ({teacher})"
        case StepStarted(step=step, text=text):
            return f"step {step + 1}: {text}"
        case AttemptExecuted(outcome=outcome):
            return f"ran the script: {outcome.replace('_', ' ')}"
        case AnswerUnreadable(teacher=teacher):
            return f"{teacher} gave an answer that cannot be used"
        case TeacherWaiting(seconds=seconds, why=why):
            return f"waiting {seconds:.0f} s: {why}"
        case TeacherSwitched(teacher=teacher):
            return f"going on with {teacher}"
        case _:
            return ""
