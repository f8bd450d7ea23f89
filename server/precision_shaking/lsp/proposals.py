"""A proposal that waits for the user's answer, and how it is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from precision_shaking.lsp import protocol
from precision_shaking.lsp.applying import NotWritten, bring_in
from precision_shaking.lsp.documents import normalise
from precision_shaking.sape import wire
from precision_shaking.sape.events import ProposalReady
from precision_shaking.sape.vocabulary import Verdict

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server
    from precision_shaking.lsp.sessions import Session


@frozen
class Pending:
    """A proposal as the user sees it.

    Attributes:
        event: What the engine proposed.
        base: The left side: what the document held when it was shown.
        proposed: The right side: the attempt's script, or its merge with what the user typed meanwhile.
    """

    event: ProposalReady
    base: str
    proposed: str

    @property
    def attempt(self) -> str:
        """The attempt's uid."""
        return self.event.attempt


def message(session: Session, pending: Pending) -> protocol.ProposalParams:
    """The proposal's message to the editor."""
    event = pending.event
    return protocol.ProposalParams(
        session=session.uid,
        uri=session.uri,
        attempt=event.attempt,
        step=event.step,
        steps=len(session.steps),
        cycle=event.cycle,
        base=pending.base,
        proposed=pending.proposed,
        reasoning=event.reasoning,
        teacher=event.teacher,
        outcome=event.outcome,
        output=event.output,
        unclear=event.unclear,
        warnings=event.warnings,
    )


def label(session: Session, step: int) -> str:
    """What the editor's undo history calls an accepted step."""
    text = session.steps[step] if step < len(session.steps) else session.request
    return f"Precision Shaking: {text}"


async def accept(server: Server, session: Session, pending: Pending, words: str, proposed: str | None) -> str:
    """Write the proposal into the document, and only then tell the engine that it was accepted.

    Args:
        server: Whose session it is.
        session: The proposal's session.
        pending: The proposal.
        words: What the user said beside it.
        proposed: The right side as the user left it; None when they did not touch it.

    Returns:
        Nothing when the document holds it now; otherwise one sentence that says why not. The proposal is then
        pending again, against the document as it is.

    Raises:
        RefusedError: The document is not open.
        EngineError: The document was edited, but the engine is gone.
    """
    shown = normalise(proposed) if proposed is not None else pending.proposed
    amended = shown if shown != pending.proposed else None
    result = await bring_in(server, session.uri, pending.base, shown, label(session, pending.event.step))
    if isinstance(result, NotWritten):
        session.pending = evolve(pending, base=result.live, proposed=result.merged)
        return f"{result.why} The proposal is shown against the document as it is now; please answer again."
    accepted = amended if amended is not None else pending.event.script
    document = result.text if result.text != accepted else None
    session.holds_accepted = True
    session.base = result.text
    await session.engine.answer(
        wire.AnswerParams(pending.attempt, Verdict.ACCEPTED.value, words, amended, document)
    )
    return ""
