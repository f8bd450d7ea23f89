"""Optimised programs on disk: one for each instance's agent and teacher, and the one before it.

A program holds examples out of the user's own scripts, so only they can read it. It is never more than an
improvement: one that cannot be used is left out, and the agent works without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, frozen

FORMAT = 1
_CURRENT, _PREVIOUS = "current.json", "previous.json"
_LONGEST_NAME = 60


class ProgramError(Exception):
    """A program cannot be read or written; the message is one sentence for the user."""


@frozen(kw_only=True)
class Program:
    """What an agent is to be prompted with.

    Attributes:
        instance: Whose agent it is for.
        agent: Which.
        teacher: The model that it was measured with.
        method: few-shot or gepa.
        state: DSPy's own state of the module, without a language model.
        made_of: The sessions and steps it was made of, see `Example.place`.
        score: On held-out examples, when it was made.
        dspy: The version that wrote the state.
        format: Of this file.
    """

    instance: str
    agent: str
    teacher: str
    method: str
    state: dict[str, Any]
    made_of: tuple[str, ...]
    score: float
    dspy: str
    format: int = FORMAT


def folder(home: Path, instance: str, agent: str, teacher: str) -> Path:
    """Where the programs of an agent for a teacher lie; names that differ never share a folder."""
    slug = re.sub(r"[^\w.-]+", "-", teacher)[:_LONGEST_NAME].strip(".-")
    digest = hashlib.sha256(teacher.encode()).hexdigest()[:8]
    return home / "programs" / f"{instance}-{agent}" / f"{slug}-{digest}"


def save(home: Path, program: Program) -> Path:
    """Make a program the current one; the one until now becomes the previous.

    Raises:
        ProgramError: It cannot be written.
    """
    place = folder(home, program.instance, program.agent, program.teacher)
    current = place / _CURRENT
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = _write(place / f"{_CURRENT}.new", json.dumps(asdict(program), ensure_ascii=False, indent=1))
        if current.exists():
            current.replace(place / _PREVIOUS)
        fresh.replace(current)
    except OSError as error:
        raise _refused(place, error) from error
    return current


def undo(home: Path, instance: str, agent: str, teacher: str) -> bool:
    """Go back to the previous program, or to none; whether there was anything to undo.

    Raises:
        ProgramError: The folder refuses.
    """
    place = folder(home, instance, agent, teacher)
    current, previous = place / _CURRENT, place / _PREVIOUS
    if not current.exists():
        return False
    try:
        if previous.exists():
            previous.replace(current)
        else:
            current.unlink()
    except OSError as error:
        raise _refused(place, error) from error
    return True


def load(home: Path, instance: str, agent: str, teacher: str) -> Program | None:
    """The current program; None when there is none.

    Raises:
        ProgramError: It cannot be used.
    """
    path = folder(home, instance, agent, teacher) / _CURRENT
    try:
        program = cattrs.structure(json.loads(path.read_text("utf-8")), Program)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, cattrs.BaseValidationError) as error:
        raise _unusable(path) from error
    found = (program.format, program.instance, program.agent, program.teacher)
    if found != (FORMAT, instance, agent, teacher):
        raise _unusable(path)
    return program


def without_leftovers(state: Mapping[str, Any]) -> dict[str, Any]:
    """A module's state without language model, traces and the log-probabilities that demos drag along."""
    if "demos" not in state:
        return {name: without_leftovers(part) for name, part in state.items() if isinstance(part, Mapping)}
    demos = [
        {name: value for name, value in demo.items() if name not in {"logprobs", "augmented"}}
        for demo in state["demos"]
    ]
    return {"traces": [], "train": [], "demos": demos, "signature": state["signature"], "lm": None}


def _write(path: Path, text: str) -> Path:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def _unusable(path: Path) -> ProgramError:
    return ProgramError(f"The program {path} cannot be used.")


def _refused(place: Path, error: OSError) -> ProgramError:
    return ProgramError(
        f"The programs in {place} cannot be changed ({error.strerror or error}): make the folder writable."
    )
