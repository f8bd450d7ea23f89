"""Following a session: the engine's events go to the editor in order, and some ask the server for more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from attrs import evolve

from precision_shaking.lsp import correcting, dialogs, proposals, protocol
from precision_shaking.lsp.activity import Activity
from precision_shaking.lsp.applying import Written, bring_in
from precision_shaking.lsp.places import standing
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape.event_json import to_json
from precision_shaking.sape.events import (
    FeedbackRead,
    HelpNeeded,
    PlanReady,
    ProposalReady,
    ScoringFailed,
    SessionEvent,
    SessionFailed,
    SessionFinished,
    StepAccepted,
    StepRestored,
)
from precision_shaking.sape.vocabulary import DecidedBy

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server
    from precision_shaking.lsp.sessions import Session


Offer = Callable[["Server", str, str], Coroutine[Any, Any, None]]


async def follow(server: Server, session: Session, events: asyncio.Queue[SessionEvent], offer: Offer) -> None:
    """Hand on the session's events until it ends; `offer` asks about resuming one that broke off."""
    # The answer to the request that started the session is sent first: it names the session.
    await asyncio.sleep(0)
    activity = Activity(server, session)
    event: SessionEvent | None = None
    try:
        while not isinstance(event, SessionFinished | SessionFailed):
            event = await events.get()
            _tell(server, session, event)
            await activity.follow(event)
            await _react(server, session, event)
    except BaseException:
        # The server is ending, or what happened cannot be followed: no engine must stay unheard.
        session.engine.kill()
        raise
    finally:
        server.sessions.remove(session)
    if isinstance(event, SessionFinished):
        await _hear_out(server, session, events)
    await session.engine.close()
    if isinstance(event, SessionFailed) and not server.settings.client_commands:
        server.run_task(offer(server, session.uid, event.message), "offer to resume a session")


def _tell(server: Server, session: Session, event: SessionEvent) -> None:
    params = protocol.SessionEventParams(session.uid, session.uri, to_json(event))
    server.tell(protocol.SESSION_EVENT, params)
    if isinstance(event, ScoringFailed):
        server.warn(event.message)


async def _hear_out(server: Server, session: Session, events: asyncio.Queue[SessionEvent]) -> None:
    """Let the engine score what has no soft labels yet; the session is over for everybody else."""
    try:
        async for event in session.engine.until_gone(events):
            _tell(server, session, event)
    except asyncio.CancelledError:
        session.engine.kill()
        raise


def show(server: Server, session: Session) -> None:
    """Show the pending proposal."""
    if session.pending is None:
        return
    server.tell(protocol.PROPOSAL, proposals.message(session, session.pending))
    if not server.settings.client_commands:
        server.run_task(dialogs.show_proposal(server, session, session.pending), "show a proposal")


def ask_how_to_go_on(server: Server, session: Session, *, again: bool = False) -> None:
    """Put the question of a session that got stuck; `again` with the user's own text to look through."""
    if session.help is None:
        return
    if server.settings.client_commands:
        if again:
            params = protocol.SessionEventParams(session.uid, session.uri, to_json(session.help))
            server.tell(protocol.SESSION_EVENT, params)
        return
    asking = dialogs.edit_by_hand if again else dialogs.ask_for_help
    server.run_task(asking(server, session, session.help), "ask for help")


async def _react(server: Server, session: Session, event: SessionEvent) -> None:
    match event:
        case PlanReady(steps=steps):
            session.steps = steps
        case ProposalReady():
            session.pending = proposals.Pending(event, session.base, event.script)
            show(server, session)
        case FeedbackRead(decided_by=DecidedBy.ANALYZER):
            if not server.settings.client_commands:
                server.run_task(correcting.offer(server, session.uid, event), "offer a correction")
        case StepAccepted(script=script):
            await _hold(server, session, script)
        case StepRestored(script=script):
            await _restore(server, session, script)
        case HelpNeeded():
            # An accepted step that could not be written is still to come into the document.
            session.help = evolve(event, base=session.base)
            ask_how_to_go_on(server, session)
        case SessionFinished(script=script):
            if session.owes:
                await _hold(server, session, script)
            if not server.settings.client_commands:
                dialogs.say_farewell(server, event)


async def _restore(server: Server, session: Session, script: str) -> None:
    """Go on from a step that was accepted before the session broke off."""
    with contextlib.suppress(RefusedError):
        held = standing(server, session.place, session.place.files(session.base))
        if script != session.base and held == session.base:
            # Accepted, and then everything broke off before it was written.
            await _hold(server, session, script)
    session.hold(script)


async def _hold(server: Server, session: Session, script: str) -> None:
    """See that the document holds an accepted text."""
    session.pending = None
    if session.holds_accepted:
        session.holds_accepted = False
        return
    try:
        result = await bring_in(
            server, session.place, session.base, script, "Precision Shaking: accepted step"
        )
        why = "" if isinstance(result, Written) else result.why
    except RefusedError as error:
        why = str(error)
    session.owes = bool(why)
    if not why:
        session.hold(script)
        return
    # The base stays: the next accepted proposal contains this step and brings it along.
    server.warn(f"The accepted step is not in the document yet. {why}")
