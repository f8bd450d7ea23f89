"""How many there are of something, in words."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """As a person says it: "1 row", "1,200 rows"."""
    return f"{number} {thing}" if number == 1 else f"{number:,} {thing}s"
