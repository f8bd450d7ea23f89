"""The pieces that both forms of an answer are written with: field markers, fences, and what cannot be read.

The field markers are the ones of DSPy's ChatAdapter; code is never put inside JSON, which small models break.
"""

from __future__ import annotations

import re

from attrs import frozen

# Only "\n" ends a line: form feeds and Unicode separators are legal inside a script.
MARKER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t\r]*$", re.MULTILINE)
_FENCE = re.compile(r"(`{3,}|~{3,})[^`\n]*\n(.*?)\n?\1[ \t\r]*", re.DOTALL)


class UnreadableAnswerError(ValueError):
    """A worker's answer does not have the asked form; the message is one sentence that says what is wrong."""


@frozen
class Answer:
    """A worker's answer, read: its chain of thought, and the whole script ending with one newline."""

    reasoning: str
    script: str


def marker(name: str) -> str:
    """The line that a field begins with."""
    return f"[[ ## {name} ## ]]"


def fenced(code: str) -> str:
    """The code in a fence that is longer than any in it, so that it ends where the code does."""
    fence = max([2, *(len(run) for run in re.findall("`+", code))]) * "`" + "`"
    return f"{fence}\n{code}\n{fence}"


def clean_code(section: str) -> str:
    """A field's code without the blank lines around it and without one fence around all of it."""
    body = without_blank_end(section).lstrip("\n")
    inside = _FENCE.fullmatch(body.lstrip())
    return without_blank_end(inside[2]) if inside else body


def without_blank_end(text: str) -> str:
    """The text without blank lines at its end; the last line's own trailing spaces stay, they may matter."""
    lines = text.split("\n")
    while lines and not lines[-1].strip(" \t\r"):
        lines.pop()
    return "\n".join(lines)
