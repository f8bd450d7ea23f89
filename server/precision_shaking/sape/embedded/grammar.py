r"""GBNF grammars that hold a small model to the shape of an answer, and to nothing else.

An answer is its fields one after the other, each under a marker on a line of its own:

    [[ ## reasoning ## ]]
    …

    [[ ## script ## ]]
    …

    [[ ## completed ## ]]

**Unbounded text** may be any script. It must only never contain what begins a marker, `[[ #` or `[[#`, or
the answer could not be taken apart again. A grammar has no "anything but", so the exclusion is written as a
finite automaton: the rules `free`, `open1`, `open2` and `open2-space` are its states, named by what was just
read, and each rule ends in the next state. Such rules cost the parser no stack, however long the text.

**Bounded text** counts characters. The smallest models find no end by themselves, and the bound leads them on
to the next field: with bounds on all fields but the last, an answer is complete or was cut in its last field.
It contains no `[[` at all, and a bracket counts as one with the character after it: counting and the
automaton would multiply into thousands of rules.

**Code** is a script inside a fence. Only it makes the smallest models stop where the script does, instead of
going on to explain it until they are cut. A line that begins with a fence or with `[[` cannot be part of it.

**Lines** is a list, `1. …` or `- …`, of bounded lines; **a choice** is one of a few words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from attrs import frozen

_MOST_CHARS = 1000  # every repetition becomes a rule, and llama.cpp refuses a grammar with too many
_MOST_REGIONS = 6  # the smallest models would go on to the end of their context
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]*")

_SHARED_RULES = r"""
free ::= [^\[] free | "[" open1 | ""
open1 ::= [^\[] free | "[" open2 | ""
open2 ::= [^\[ #] free | "[" open2 | " " open2-space | ""
open2-space ::= [^\[#] free | "[" open1 | ""
character ::= [^\[] | "[" [^\[]
in-line ::= [^\[\n] | "[" [^\[\n]
code-line ::= [^`\[\n] to-end | "[" ("\n" | [^\[\n] to-end) | "`" "`"? ("\n" | [^`\n] to-end)
to-end ::= [^\n]* "\n"
"""


class Content(Protocol):
    """What a field may hold."""

    def rule(self) -> str:
        """Return the right-hand side of a GBNF rule; it may use the rules of `_SHARED_RULES`."""


@frozen
class Text:
    """Text that does not begin with white space.

    Attributes:
        max_chars: Longest text, at most 1000 characters; None for a script of any length.
    """

    max_chars: int | None = None

    def rule(self) -> str:  # noqa: D102 -- see Content
        if self.max_chars is None:
            return r'[^\[ \t\r\n] free | "[" open1'
        return rf"[^\[ \t\r\n] character{_up_to(self.max_chars - 1)}"


@frozen
class Line:
    """One line of words, without backticks: after one, the smallest models write code and never end."""

    max_chars: int

    def rule(self) -> str:  # noqa: D102 -- see Content
        return rf"[A-Za-z] [^\[\n`]{_up_to(self.max_chars - 1)}"


@frozen
class Code:
    """A script of any length in a Markdown fence; `language` is the fence's info string."""

    language: str

    def rule(self) -> str:  # noqa: D102 -- see Content
        return rf'{_literal(f"```{self.language}" + chr(10))} "\n"* code-line ("\n" | code-line)* "```"'


@frozen
class Choice:
    """Exactly one of the options."""

    options: Sequence[str]

    def rule(self) -> str:  # noqa: D102 -- see Content
        if not self.options:
            raise ValueError("a choice needs options")
        return " | ".join(_literal(option) for option in self.options)


@frozen
class Lines:
    """One to `max_items` lines of at most `max_chars` characters, numbered from 1 or all with a dash."""

    max_items: int
    max_chars: int

    def rule(self) -> str:  # noqa: D102 -- see Content
        text = rf"[^\[ \t\r\n-] in-line{_up_to(self.max_chars - 1)}"
        numbered = self._optional_tail([f"{number + 1}. " for number in range(self.max_items)], text)
        dashed = self._optional_tail(["- "] * self.max_items, text)
        return f"{numbered} | {dashed}"

    @staticmethod
    def _optional_tail(bullets: Sequence[str], text: str) -> str:
        """Nest the items, so that each may only follow the one before: a (b (c)?)?."""
        rule = ""
        for position, bullet in reversed(list(enumerate(bullets))):
            line = f"{_literal(bullet if position == 0 else chr(10) + bullet)} {text} {rule}".rstrip()
            rule = line if position == 0 else f"({line})?"
        return rule


@frozen
class Field:
    """One field of an answer; a name is lower-case letters, digits and underscores."""

    name: str
    content: Content


def marker_grammar(fields: Sequence[Field]) -> str:
    """Write the grammar of an answer.

    Args:
        fields: In the order in which they are written.

    Returns:
        GBNF whose rule `root` matches the whole answer, the `completed` marker included.

    Raises:
        ValueError: A bound is out of range, a name cannot be a marker, a choice is empty.
    """
    parts, rules = [], []
    for field in fields:
        if not _FIELD_NAME.fullmatch(field.name):
            raise ValueError(f"{field.name!r} cannot be a field's name")
        rule = "field-" + field.name.replace("_", "-")
        parts.append(f"{_literal(_marker(field.name) + chr(10))} {rule} {_literal(chr(10) * 2)}")
        rules.append(f"{rule} ::= {field.content.rule()}")
    root = " ".join(["root ::=", *parts, _literal(_marker("completed"))])
    return "\n".join([root, *rules]) + _SHARED_RULES


def region_grammar(reasoning: Field, code: Content, rewritable: Sequence[str], names: Sequence[str]) -> str:
    """Write the grammar of an answer that changes regions, see `dorpo.region_rendering`.

    Args:
        reasoning: The field before them.
        code: What a region may hold.
        rewritable: Regions that may be written anew.
        names: Regions that new code may be put after. Deleting is not offered: only small models take a
            grammar, and they delete what they should have changed.

    Returns:
        GBNF whose rule `root` matches the whole answer, with one region or a few.
    """
    named = [*rewritable, *(f"NEW after {name}" for name in names)]
    begin, end = marker_grammar([reasoning]).split("\n", 1)
    begin = begin.removesuffix(_literal(_marker("completed")))
    rules = [
        f"{begin} region{{1,{_MOST_REGIONS}}} {_literal(_marker('completed'))}",
        f'region ::= "[[ ## region " region-name {_literal(" ## ]]" + chr(10))} region-code "\\n\\n"',
        f"region-name ::= {Choice(named).rule()}",
        f"region-code ::= {code.rule()}",
    ]
    return "\n".join([*rules, end])


def _marker(name: str) -> str:
    return f"[[ ## {name} ## ]]"


def _up_to(count: int) -> str:
    if not 0 <= count < _MOST_CHARS:
        raise ValueError(f"a bounded text has 1 to {_MOST_CHARS} characters, not {count + 1}")
    return f"{{0,{count}}}"


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
