"""`precision-shaking sessions`, `resume` and `abandon`: sessions that broke off."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from attrs import asdict

from dorpo.store import Store, StoreError, default_path
from precision_shaking.console import visible
from precision_shaking.sape.resuming import OpenSession, ResumeError, abandon, open_session, open_sessions

_DONE, _UNUSABLE = 0, 2


def add_arguments(commands: Any) -> None:
    """Add the three commands. `commands` is what `add_subparsers` returned."""
    listing = commands.add_parser("sessions", help="list the sessions that broke off")
    listing.add_argument("session", metavar="UID", nargs="?", help="only this one, even if it is done")
    _add_database(listing)
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    resuming = commands.add_parser("resume", help="go on with a session that broke off")
    resuming.add_argument("session", metavar="UID", help="which, as `sessions` names it")
    resuming.add_argument("--answers", metavar="FILE.jsonl", help="your answers, one JSON object a line")
    _add_database(resuming)
    resuming.add_argument("--json", action="store_true", help="print every event as a JSON object a line")
    resuming.add_argument("--no-execute", action="store_true", help="do not run the scripts")
    abandoning = commands.add_parser("abandon", help="give up a session that broke off")
    abandoning.add_argument("session", metavar="UID", help="which, as `sessions` names it")
    _add_database(abandoning)


def run_sessions(arguments: argparse.Namespace) -> int:
    """List the sessions that wait to be resumed."""
    path = _dataset(arguments)
    try:
        found: list[OpenSession] = []
        if arguments.session:
            with Store.open(path, create=False) as store:
                found = [open_session(store, arguments.session)]
        elif path.exists():
            with Store.open(path, create=False) as store:
                found = open_sessions(store)
    except (StoreError, ResumeError) as error:
        return _complain(error)
    if arguments.json:
        sys.stdout.write(json.dumps({"sessions": [asdict(session) for session in found]}) + "\n")
    else:
        sys.stdout.write("".join(map(_described, found)) or "No session waits to be resumed.\n")
    return _DONE


def run_abandon(arguments: argparse.Namespace) -> int:
    """Give up a session."""
    try:
        with Store.open(_dataset(arguments), create=False) as store:
            abandon(store, arguments.session)
    except (StoreError, ResumeError) as error:
        return _complain(error)
    sys.stderr.write("The session is given up; what was accepted stays.\n")
    return _DONE


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", metavar="FILE", help="the dataset (default: your own)")


def _dataset(arguments: argparse.Namespace) -> Path:
    return Path(arguments.db) if arguments.db else default_path()


def _described(session: OpenSession) -> str:
    step = f"step {session.step + 1}/{session.steps}: {session.text}" if session.steps else "not planned yet"
    if session.problem:
        step = f"{session.problem} Give it up with `precision-shaking abandon {session.session}`."
    return visible(f"{session.session}  {session.document}\n    {session.request}\n    {step}\n")


def _complain(error: Exception) -> int:
    sys.stderr.write(f"precision-shaking: {visible(str(error))}\n")
    return _UNUSABLE
