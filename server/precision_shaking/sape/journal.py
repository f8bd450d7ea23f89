"""What a session was told, as text, and the way back from there: replaying it gives the state it had."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import get_args

import cattrs
from attrs import frozen

from precision_shaking.sape import happenings as h
from precision_shaking.sape import workflow
from precision_shaking.sape.state import InvalidEventError, State

_KINDS: dict[str, type[h.Event]] = {kind.__name__: kind for kind in get_args(h.Event)}


class JournalError(ValueError):
    """A journal cannot be read or makes no sense; the message is one sentence for the user."""


@frozen
class Standing:
    """Where a session stands.

    Attributes:
        kept: For each step behind it, what the document held after it was accepted; None for a skipped one.
    """

    state: State
    kept: tuple[str | None, ...] = ()


def to_json(event: h.Event) -> str:
    """An event as an entry: its class's name, then its fields. Half surrogate pairs survive, as escapes."""
    return json.dumps({"kind": type(event).__name__, **cattrs.unstructure(event)})


def from_json(entry: str) -> h.Event:
    """The event of an entry.

    Raises:
        JournalError: It is none that this version knows.
    """
    try:
        data = json.loads(entry)
        return cattrs.structure(data, _KINDS[data.pop("kind")])
    except (ValueError, TypeError, KeyError, AttributeError, cattrs.BaseValidationError) as error:
        raise JournalError(
            "This version cannot resume the session: its journal is of another one, or damaged."
        ) from error


def replay(state: State, events: Iterable[h.Event]) -> Standing:
    """Where a session stands that began in `state` and was told these events.

    Raises:
        JournalError: One of them could not happen then.
    """
    standing = Standing(state)
    for event in events:
        try:
            standing = _after(standing, event)
        except InvalidEventError as error:
            raise JournalError(
                f"This version cannot resume the session, its journal makes no sense here: {error}."
            ) from error
    return standing


def _after(standing: Standing, event: h.Event) -> Standing:
    transition = workflow.advance(standing.state, event)
    kept = standing.kept
    for record in transition.records:
        match record:
            case h.StepAccepted():
                kept += (transition.state.current_script,)
            case h.StepAbandoned():
                kept += (None,)
    return Standing(transition.state, kept)
