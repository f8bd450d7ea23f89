"""A step that no teacher could do, done by the user: their text goes the way of an accepted proposal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from precision_shaking.lsp.applying import NotWritten, bring_in
from precision_shaking.lsp.documents import normalise
from precision_shaking.lsp.following import ask_how_to_go_on
from precision_shaking.lsp.proposals import label
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineError
from precision_shaking.sape.vocabulary import Help

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server
    from precision_shaking.lsp.sessions import Session


async def solve(server: Server, session: Session, text: str) -> None:
    """Write the user's text into the document, and only then tell the engine that it does the step.

    Raises:
        RefusedError: Nothing is asked, or the text cannot be used; or the document does not hold it, and then
            the question stands again, against the document as it is.
        EngineError: The engine is gone, or cannot use the text.
    """
    asked = session.help
    if asked is None:
        raise RefusedError("The session is not waiting for help.")
    if session.answering:
        raise RefusedError("This step is being answered already.")
    session.answering = True
    try:
        mine = session.place.whole(asked.base, normalise(text))
        result = await bring_in(server, session.place, asked.base, mine, label(session, asked.step))
        if isinstance(result, NotWritten):
            session.help = evolve(asked, base=result.live, script=result.merged)
            ask_how_to_go_on(server, session, again=True)
            raise RefusedError(
                f"{result.why} Your version is shown against the document as it is now; please use it again."
            )
        session.hold(result.text)
        session.help = solved = evolve(asked, base=result.text, script=mine)
        await _tell_engine(session, mine, result.text)
        # The next question may be there already, by an event that overtook the engine's answer.
        if session.help is solved:
            session.help = None
    finally:
        session.answering = False


async def _tell_engine(session: Session, mine: str, document: str) -> None:
    session.holds_accepted = True
    try:
        # The choice says nothing beside a text.
        await session.engine.help(
            wire.HelpParams(Help.RETRY.value, mine, document if document != mine else None)
        )
    except EngineError:
        session.holds_accepted = False
        raise
