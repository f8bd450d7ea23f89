"""What the optimising process is given and what it gives back: JSON objects, one a line."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from precision_shaking.sape.optimizing.data import Split
from precision_shaking.sape.wire import TeacherAccess

FEW_SHOT, GEPA = "few-shot", "gepa"


@frozen
class Task:
    """An agent to optimise.

    Attributes:
        agent: Which.
        split: Its examples.
        state: Of the program in use; None when there is none.
    """

    agent: str
    split: Split
    state: dict[str, Any] | None = None


@frozen
class Job:
    """Everything the process needs; the key of a teacher travels only here.

    Attributes:
        teacher: Who is asked.
        method: `FEW_SHOT` or `GEPA`.
        instance: Whose agents, as `to_tables` gives it.
        tasks: One after the other.
    """

    teacher: TeacherAccess
    method: str
    instance: dict[str, Any]
    tasks: tuple[Task, ...]


@frozen
class Compiled:
    """A new program, and what it and the old one scored on each held-out example.

    Attributes:
        agent: Whose.
        state: DSPy's own state, see `Program`.
        dspy: The version that wrote it.
        before: Scores of the program in use.
        after: Scores of the new one, in the same order.
    """

    agent: str
    state: dict[str, Any]
    dspy: str
    before: tuple[float, ...]
    after: tuple[float, ...]


@frozen
class Message:
    """One line of the process: where it is, a program, or why it gave up."""

    progress: str | None = None
    compiled: Compiled | None = None
    failure: str | None = None
