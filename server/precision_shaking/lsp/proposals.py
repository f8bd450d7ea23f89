"""A proposal that waits for the user's answer, and how it is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve, frozen

from precision_shaking.lsp import protocol
from precision_shaking.lsp.applying import NotWritten, bring_in
from precision_shaking.lsp.documents import normalise
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape import wire
from precision_shaking.sape.events import ProposalReady
from precision_shaking.sape.process import EngineError
from precision_shaking.sape.vocabulary import Verdict

if TYPE_CHECKING:
    from precision_shaking.lsp.places import Place
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
        files=_files(session.place, pending),
    )


def changed(place: Place, pending: Pending) -> dict[str, tuple[str, str]]:
    """The files that the proposal changes: what they are, nothing for new ones, and what they become."""
    old, new = place.files(pending.base), place.files(pending.proposed)
    return {name: (old.get(name, ""), text) for name, text in new.items() if text != old.get(name)}


def _files(place: Place, pending: Pending) -> tuple[protocol.ProposedFile, ...]:
    return tuple(
        protocol.ProposedFile(place.uri_of(name), name, base or None, proposed)
        for name, (base, proposed) in changed(place, pending).items()
        if place.several
    )


def as_left(session: Session, pending: Pending, answer: protocol.AnswerParams) -> str:
    """The right side as the user left it.

    Raises:
        RefusedError: They changed what is not proposed, or it cannot be used.
    """
    place = session.place
    if answer.proposed is not None:
        return place.whole(pending.proposed, normalise(answer.proposed))
    if not answer.files:
        return pending.proposed
    proposed, files = changed(place, pending), place.files(pending.proposed)
    for file in answer.files:
        name = place.name_of(file.uri)
        if name not in proposed:
            raise RefusedError(f"{file.uri} is no file of this proposal; change only what is shown.")
        files[name] = normalise(file.text)
    return place.text(files)


def label(session: Session, step: int) -> str:
    """What the editor's undo history calls an accepted step."""
    text = session.steps[step] if step < len(session.steps) else session.request
    return f"Precision Shaking: {text}"


async def accept(server: Server, session: Session, pending: Pending, words: str, shown: str) -> str:
    """Write the proposal into the user's documents, and only then tell the engine that it was accepted.

    Args:
        server: Whose session it is.
        session: The proposal's session.
        pending: The proposal.
        words: What the user said beside it.
        shown: The right side as the user left it.

    Returns:
        Nothing when the documents hold it now; otherwise one sentence that says why not. The proposal is then
        pending again, against the documents as they are.

    Raises:
        RefusedError: The document is not open, or a file cannot be read.
        EngineError: The documents were edited, but the engine is gone.
    """
    amended = shown if shown != pending.proposed else None
    result = await bring_in(server, session.place, pending.base, shown, label(session, pending.event.step))
    if isinstance(result, NotWritten):
        session.pending = evolve(pending, base=result.live, proposed=result.merged)
        now = "the files as they are" if session.place.several else "the document as it is"
        return f"{result.why} The proposal is shown against {now} now; please answer again."
    accepted = amended if amended is not None else pending.event.script
    document = result.text if result.text != accepted else None
    session.holds_accepted = True
    session.hold(result.text)
    try:
        await session.engine.answer(
            wire.AnswerParams(pending.attempt, Verdict.ACCEPTED.value, words, amended, document)
        )
    except EngineError:
        session.holds_accepted = False
        raise
    return ""
