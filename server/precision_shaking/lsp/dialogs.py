"""What the server itself says and asks where the editor has no client of ours: messages, buttons, a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.capabilities import get_capability
from pygls.uris import to_fs_path

from precision_shaking.lsp import feedback_file, proposals
from precision_shaking.sape import wire
from precision_shaking.sape.events import HelpNeeded, SessionFinished
from precision_shaking.sape.vocabulary import Help

if TYPE_CHECKING:
    from precision_shaking.lsp.proposals import Pending
    from precision_shaking.lsp.server import Server
    from precision_shaking.lsp.sessions import Session

_BY_HAND = "Edit by hand"
_HELP = {Help.RETRY.value: "Try again", Help.SKIP.value: "Skip this step", Help.STOP.value: "Stop"}


async def show_proposal(server: Server, session: Session, pending: Pending) -> None:
    """Open the proposal's page and say where the buttons are."""
    step, steps = pending.event.step, session.steps
    text = steps[step] if step < len(steps) else session.request
    changes = {
        name if session.place.several else "document": sides
        for name, sides in proposals.changed(session.place, pending).items()
    }
    page = feedback_file.proposal_page(text, pending.event.reasoning, changes, pending.event.output)
    path = server.feedback_files.write("FEEDBACK.md", page, "answer", session.uid)
    unclear = "Your words could not be read as a decision. " if pending.event.unclear else ""
    warned = "".join(f"{warning} " for warning in pending.event.warnings)
    server.say(
        f"{unclear}{warned}Step {step + 1} of {max(len(steps), 1)} is proposed: "
        "accept it or answer it with the document's code actions, or write into FEEDBACK.md and save."
    )
    await open_file(server, path)


async def ask_for_request(server: Server, uri: str) -> None:
    """Open a page on which the user writes what should change."""
    name = Path(server.document(uri).path).name or uri
    path = server.feedback_files.write("REQUEST.md", feedback_file.request_page(name), "request", uri)
    server.say("Write what should change into REQUEST.md and save it.")
    await open_file(server, path)


async def ask_for_help(server: Server, session: Session, event: HelpNeeded) -> None:
    """Ask how to go on after every teacher failed; no answer leaves the question open."""
    choices = [choice for choice in _HELP if choice in event.choices]
    chosen = await server.window_show_message_request_async(
        types.ShowMessageRequestParams(
            types.MessageType.Warning,
            event.text,
            [types.MessageActionItem(title) for title in (*map(_HELP.__getitem__, choices), _BY_HAND)],
        )
    )
    if chosen is None or session.help is not event:
        return
    if chosen.title == _BY_HAND:
        await edit_by_hand(server, session, event)
        return
    choice = next(choice for choice in choices if _HELP[choice] == chosen.title)
    session.help = None
    await session.engine.help(wire.HelpParams(choice))


async def edit_by_hand(server: Server, session: Session, event: HelpNeeded) -> None:
    """Open the step's script; what the user saves there does the step."""
    ending = ".txt" if session.place.several else Path(to_fs_path(session.uri) or session.uri).suffix
    name = f"BY_HAND{ending}"
    path = server.feedback_files.write(name, event.script, "by_hand", session.uid)
    server.say(f"Change {name} as step {event.step + 1} asks, and save it: it then goes into the document.")
    await open_file(server, path)


def say_farewell(server: Server, event: SessionFinished) -> None:
    """Say how the session ended."""
    ended = "is done" if event.status == "done" else "was stopped"
    rows = "1 row" if event.rows == 1 else f"{event.rows} rows"
    server.say(f"The session {ended}; it wrote {rows} to the dataset.")


async def open_file(server: Server, path: Path) -> None:
    """Open a file in the editor, where the editor can."""
    if get_capability(server.client_capabilities, "window.show_document.support", False):
        await server.window_show_document_async(types.ShowDocumentParams(path.as_uri(), take_focus=True))
    else:
        server.say(f"Please open {path}.")
