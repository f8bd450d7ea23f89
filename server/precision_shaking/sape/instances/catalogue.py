"""Which instances there are: those that are shipped, and those that a workspace declares."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from attrs import frozen

from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.loading import (
    LARGEST_BYTES,
    DeclarationError,
    extended,
    read_toml,
    to_instance,
)
from precision_shaking.sape.instances.workspace import DECLARATIONS

DEFAULT = "script"
SHIPPED = "shipped"


@frozen
class Entry:
    """An instance, and where it is from: `shipped`, or the file that declares it."""

    instance: Instance
    source: str


def find(name: str, workspace: Path | None) -> Instance:
    """The instance of this name.

    Raises:
        DeclarationError: There is none, or a declaration of the workspace cannot be used.
    """
    shipped = _shipped()
    if name in shipped:
        return shipped[name].instance
    # A workspace's own are only read where they are asked for: a fault in one is no matter of the others.
    entries = {entry.instance.name: entry for entry in catalogue(workspace)}
    if name not in entries:
        raise DeclarationError(f"There is no instance {name!r}: it is one of {', '.join(entries)}.")
    return entries[name].instance


def choose(name: str | None, preferred: str, language: str, workspace: Path | None) -> Instance:
    """A document's instance: the one that is named, else the preferred one, else the only one that fits.

    Raises:
        DeclarationError: It does not fit, there is none, or several fit and none is named.
    """
    asked = find(name or preferred, workspace)
    if asked.fits(language):
        return asked
    if name is not None:
        fitting = ", ".join(asked.languages)
        raise DeclarationError(
            f"The instance {asked.name} is for {fitting}, and this document is {language}."
        )
    others = [entry.instance for entry in catalogue(workspace)]
    single = [one for one in others if one.fits(language) and not one.document.several]
    if len(single) == 1:
        return single[0]
    names = ", ".join(one.name for one in single)
    raise DeclarationError(
        f"No instance is for {language} documents: name one that fits."
        if not names
        else f"Several instances fit {language} documents, name one: {names}."
    )


def default() -> Instance:
    """The white paper's: an executable script and a change request."""
    return _shipped()[DEFAULT].instance


def catalogue(workspace: Path | None) -> list[Entry]:
    """All instances that can be used in a workspace.

    Raises:
        DeclarationError: A declaration of the workspace cannot be used.
    """
    entries = dict(_shipped())
    for file in _declarations(workspace):
        entry = Entry(_read(file), str(file))
        name = entry.instance.name
        if name in entries:
            raise DeclarationError(
                f"{file}: name must be another one, {name!r} is declared already ({entries[name].source})."
            )
        entries[name] = entry
    return list(entries.values())


def _declarations(workspace: Path | None) -> list[Path]:
    found = (workspace / DECLARATIONS).glob("*.toml") if workspace is not None else ()
    # A link in somebody else's workspace may lead to a device, which never ends.
    return sorted(file for file in found if file.is_file())


def _read(file: Path) -> Instance:
    where = str(file)
    try:
        data = file.read_bytes() if file.stat().st_size <= LARGEST_BYTES else None
        source = None if data is None else data.decode("utf-8")
    except OSError as error:
        raise DeclarationError(f"{where} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{where} is no UTF-8 text: save it as UTF-8.") from error
    if source is None:
        raise DeclarationError(f"{where} is too large: {LARGEST_BYTES:,} bytes are the most.")
    return to_instance(extended(read_toml(source, where), where, _tables()), where)


@cache
def _tables() -> dict[str, dict[str, Any]]:
    """The shipped declarations, `script` first, as tables that others may extend."""
    files = [file for file in resources.files(__package__).iterdir() if file.name.endswith(".toml")]
    read = [read_toml(file.read_text("utf-8"), file.name) for file in files]
    read.sort(key=lambda tables: (tables["name"] != DEFAULT, tables["name"]))
    raw = {tables["name"]: tables for tables in read}
    return {name: extended(tables, f"{name}.toml", raw) for name, tables in raw.items()}


@cache
def _shipped() -> dict[str, Entry]:
    return {name: Entry(to_instance(tables, f"{name}.toml"), SHIPPED) for name, tables in _tables().items()}
