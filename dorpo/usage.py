"""What the agents' calls took, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dorpo.store import Usage

_HEAD = ("agent", "teacher", "calls", "tokens in", "out", "seconds", "US$")
_NUMBERS = ("calls", "input_tokens", "output_tokens", "seconds", "cost_usd", "unpriced_calls")


def by_agent(usage: Iterable[Usage]) -> list[Usage]:
    """The sums for each agent and teacher, sorted by their names."""
    groups: dict[tuple[str, str], list[Usage]] = {}
    for part in usage:
        groups.setdefault((part.agent or "", part.teacher or ""), []).append(part)
    return [Usage.total(groups[key]) for key in sorted(groups)]


def plain_usage(usage: Usage) -> dict[str, Any]:
    """One sum as JSON; agent and teacher are left out where they differ."""
    whose = {"agent": usage.agent, "teacher": usage.teacher}
    numbers = {name: getattr(usage, name) for name in _NUMBERS}
    return {**{name: value for name, value in whose.items() if value is not None}, **numbers}


def describe_usage(usage: Iterable[Usage]) -> str:
    """A table with a line for each agent and teacher, and one for all; empty without calls."""
    parts = list(usage)
    if not parts:
        return ""
    lines = [_HEAD, *map(_line, by_agent(parts)), ("all", "", *_line(Usage.total(parts))[2:])]
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEAD))]
    # Names to the left, numbers to the right.
    return "\n" + "".join(
        "  ".join(
            cell.ljust(width) if n < 2 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )


def _line(usage: Usage) -> tuple[str, ...]:
    cost = "" if usage.cost_usd is None else f"{usage.cost_usd:,.4f}"
    # The sum of those whose price is known.
    cost += "+" if cost and usage.unpriced_calls else ""
    return (
        usage.agent or "",
        usage.teacher or "",
        f"{usage.calls:,}",
        f"{usage.input_tokens:,}",
        f"{usage.output_tokens:,}",
        f"{usage.seconds:,.1f}",
        cost or "unknown",
    )
