"""A session's events as JSON: how they leave the engine, and how its client reads them."""

from __future__ import annotations

from typing import Any, get_args

from attrs import asdict, fields

from precision_shaking.sape.events import SessionEvent


class UnknownEventError(ValueError):
    """JSON that is no session event."""


def to_json(event: SessionEvent) -> dict[str, Any]:
    """The event as a JSON object: its `kind`, then its fields in snake_case; tuples become lists."""
    values = asdict(event, recurse=False)
    return {"kind": event.kind, **{k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}}


def from_json(data: dict[str, Any]) -> SessionEvent:
    """The event that `to_json` wrote; keys it does not know are ignored.

    Raises:
        UnknownEventError: The kind is unknown or a field is missing.
    """
    event_class = next((cls for cls in get_args(SessionEvent) if cls.kind == data.get("kind")), None)
    if event_class is None:
        raise UnknownEventError(f"there is no session event called {data.get('kind')!r}")
    names = [attribute.name for attribute in fields(event_class)]
    missing = [name for name in names if name not in data]
    if missing:
        raise UnknownEventError(f"the event {data['kind']} lacks {', '.join(missing)}")
    values = {name: tuple(v) if isinstance(v := data[name], list) else v for name in names}
    event: SessionEvent = event_class(**values)
    return event
