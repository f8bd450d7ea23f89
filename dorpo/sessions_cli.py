"""`python -m dorpo sessions` and `delete`: what is in the dataset, and taking it out again."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from dorpo.counting import counted
from dorpo.paths import home
from dorpo.programs import forget_programs
from dorpo.store import SessionSummary, Store, StoreError, default_path


def add_arguments(commands: Any, add_database: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the two commands. `commands` is what `add_subparsers` returned."""
    listing = commands.add_parser("sessions", help="list the sessions")
    add_database(listing)
    listing.add_argument("--json", action="store_true", help="write one JSON object a line")
    listing.set_defaults(run=run_sessions)
    deleting = commands.add_parser("delete", help="forget sessions for good, with everything they left")
    add_database(deleting)
    which = deleting.add_mutually_exclusive_group(required=True)
    which.add_argument("--session", metavar="UID", help="this one")
    which.add_argument("--all", action="store_true", help="all of them")
    deleting.add_argument("--yes", action="store_true", help="do not ask")
    deleting.set_defaults(run=run_delete)


def run_sessions(args: argparse.Namespace) -> int:
    """Write the sessions to standard output, the oldest first."""
    with Store.open(args.db or default_path(), create=False) as store:
        sessions = store.sessions()
    for session in sessions:
        line = json.dumps(attrs.asdict(session)) if args.json else describe(session)
        sys.stdout.write(line + "\n")
    return 0


def describe(session: SessionSummary) -> str:
    """A session in a line."""
    date = session.created_at.partition(".")[0].replace("T", " ")
    counts = f"{counted(session.steps, 'step')}, {counted(session.rows, 'row')}"
    # Whatever an editor calls its document, it is one line here.
    document = "".join(c if c.isprintable() else "?" for c in session.document)
    return f"{session.uid}  {date}  {session.status:<9}  {counts}  {document}"


def run_delete(args: argparse.Namespace) -> int:
    """Delete sessions after asking, and write what went and which trainings had used it."""
    with Store.open(args.db or default_path(), create=False) as store:
        sessions = [found for found in store.sessions() if args.all or found.uid == args.session]
        if not sessions and args.session:
            raise StoreError(
                f"The dataset {store.path} has no session {args.session}: "
                "`python -m dorpo sessions` lists them."
            )
        if sessions and not args.yes and not _agreed(sessions):
            return 1
        trainings: dict[str, None] = {}
        for session in sessions:
            trainings |= dict.fromkeys(store.delete_session(session.uid))
            sys.stdout.write(f"deleted  {describe(session)}\n")
    rows = sum(session.rows for session in sessions)
    sys.stdout.write(f"{counted(len(sessions), 'session')} with {counted(rows, 'row')} deleted.\n")
    for program in _forget_programs([session.uid for session in sessions]):
        sys.stdout.write(f"deleted  {program}, a prompt that quoted from it\n")
    if trainings:
        sys.stdout.write(f"What they learned from it stays in these trainings: {', '.join(trainings)}.\n")
    return 0


def _forget_programs(sessions: Sequence[str]) -> Sequence[Path]:
    try:
        return forget_programs(home(), sessions)
    except OSError as error:
        raise StoreError(
            f"The sessions are deleted, but not a prompt that may quote them ({error}): delete it yourself."
        ) from error


def _agreed(sessions: Sequence[SessionSummary]) -> bool:
    """Whether the user at the terminal says yes.

    Raises:
        StoreError: Nobody is there to ask.
    """
    if not sys.stdin.isatty():
        raise StoreError("Nobody is there to ask whether to delete: add --yes to do it.")
    for session in sessions:
        sys.stdout.write(describe(session) + "\n")
    sys.stdout.write(f"Delete {counted(len(sessions), 'session')} for good? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
