"""What the user can set, read from an editor's JSON with errors that name the setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from precision_shaking.sape.scorers import parse_scorer

SECTION = "precisionShaking"


class SettingsError(ValueError):
    """A setting cannot be used; the message says which and what it must be."""


@frozen
class Settings:
    """The settings of one editor.

    Attributes:
        teachers: The pool, in the order it is used: `provider/model`, optionally `@` and a base URL.
        worker: The user's own model, which the worker asks before the teachers; None without one.
        max_attempts: Failed attempts at a step before the next teacher is used.
        max_whole_lines: The longest script that the worker writes whole; of longer ones it writes regions.
        database: The dataset's file; None for the user's default one.
        student: The model to train: a name, a folder or a GGUF file.
        training_steps: Optimiser steps of one training.
        scorer: The model that scores texts without log-probabilities; None for the embedded teacher that they
            are of, if they are of one.
        execute: Whether scripts may be run; False in a workspace that is not trusted.
        instance: Name of the SAPE instance that sessions are of, unless they name another.
        client_commands: Whether the client has commands and dialogs of its own, as VS Code's has.
    """

    teachers: tuple[str, ...] = ("embedded/smollm2",)
    worker: str | None = None
    max_attempts: int = 3
    max_whole_lines: int = 350
    database: Path | None = None
    student: str = "smollm2"
    training_steps: int = 200
    scorer: str | None = None
    execute: bool = True
    instance: str = "script"
    client_commands: bool = False

    def updated(self, values: Any) -> Settings:
        """These settings with an editor's values in place of some.

        Settings that are absent or null stay as they are; names that are not the server's are ignored,
        because an editor's section holds its client's settings too.

        Raises:
            SettingsError: A value is of the wrong kind or out of range.
        """
        if values is None:
            return self
        if not isinstance(values, Mapping):
            raise SettingsError(f"The settings of {SECTION} must be an object.")
        changes: dict[str, Any] = {}
        for name, (attribute, read) in _READERS.items():
            if (value := values.get(name)) is not None:
                try:
                    changes[attribute] = read(value)
                except ValueError as error:
                    raise SettingsError(f"The setting {SECTION}.{name} must be {error}.") from None
        return evolve(self, **changes)


def split_teacher(text: str) -> tuple[str, str | None]:
    """Take `provider/model@base_url` apart; the base URL is None when there is none.

    The names of some providers' models have an @ of their own.
    """
    name, at, rest = text.partition("@http")
    return name, f"http{rest}" if at else None


def _teachers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(map(_is_teacher, value)):
        raise ValueError(
            "a list of at least one model, each written provider/model or provider/model@base-URL"
        )
    return tuple(item.strip() for item in value)


def _is_teacher(value: Any) -> bool:
    name = split_teacher(value.strip())[0] if isinstance(value, str) else ""
    provider, slash, model = name.partition("/")
    return bool(provider and slash and model)


def _worker(value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError("a model")
    own = value.strip()
    if not own:
        return None
    if own.endswith(".gguf") and Path(own).is_absolute():
        return f"embedded/{own}"
    if not _is_teacher(own):
        raise ValueError("the absolute path of a GGUF file, provider/model@base-URL, or empty for none")
    return own


def _count(value: Any) -> int:
    # JSON has one kind of number; a bool is not one, and neither is what Python reads of 1e999.
    if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 != 0 or value < 1:
        raise ValueError("a whole number of at least 1")
    return int(value)


def _file(value: Any) -> Path | None:
    if not isinstance(value, str):
        raise ValueError("the path of a file")
    path = Path(value).expanduser()
    if value and not path.is_absolute():
        raise ValueError("an absolute path, or empty for the usual place")
    return path if value else None


def _scorer(value: Any) -> str | None:
    if not isinstance(value, str):
        raise ValueError("a model")
    return parse_scorer(value) if value.strip() else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "teachers": ("teachers", _teachers),
    "worker": ("worker", _worker),
    "maxAttempts": ("max_attempts", _count),
    "maxWholeLines": ("max_whole_lines", _count),
    "database": ("database", _file),
    "student": ("student", _text),
    "trainingSteps": ("training_steps", _count),
    "scorer": ("scorer", _scorer),
    "execute": ("execute", _flag),
    "instance": ("instance", _text),
    "clientCommands": ("client_commands", _flag),
}
