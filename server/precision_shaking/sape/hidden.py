"""Characters of a script that do not show, or make it show something else than what runs.

A proposal keeps them, because a script may need them; but whoever accepts it must know.
Source: CVE-2021-42574 ("Trojan Source") and the tag characters in which text for a model can hide.
"""

from __future__ import annotations

import unicodedata
from collections import Counter

_MOST = 5
_SHOWN = "\n\t"
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def hidden_characters(before: str, after: str) -> tuple[str, ...]:
    """A sentence for each kind of hidden character that `after` has more of than `before`; at most five."""
    known, found = Counter(filter(_hides, before)), Counter(filter(_hides, after))
    new = [character for character, count in found.items() if count > known[character]]
    return tuple(_sentence(character, after) for character in new[:_MOST])


def _hides(character: str) -> bool:
    return character not in _SHOWN and unicodedata.category(character) in {"Cc", "Cf", "Co", "Cs"}


def _sentence(character: str, script: str) -> str:
    lines = [n for n, line in enumerate(script.split("\n"), 1) if character in line]
    where = f"Line {lines[0]} holds" if len(lines) == 1 else f"Lines {lines[0]} to {lines[-1]} hold"
    name = unicodedata.name(character, "a control character").lower()
    if character in _TURNING:
        what = "which can show the line in another order than it runs"
    elif unicodedata.category(character) == "Cc":
        what = "which can change what a terminal shows"
    else:
        what = "which does not show"
    return f"{where} U+{ord(character):04X} ({name}), {what}."
