"""Which instances fit an open document, and which one a session on it is of."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from pygls.uris import to_fs_path

from precision_shaking.lsp.rpc import RefusedError

if TYPE_CHECKING:
    from precision_shaking.sape.instances.catalogue import Entry
    from precision_shaking.sape.instances.declaration import Instance


def workspace_of_document(uri: str) -> Path | None:
    """The folder that a document belongs to; None for one without a file."""
    from precision_shaking.sape.instances.workspace import workspace_of

    path = to_fs_path(uri) if uri.startswith("file:") else None
    return workspace_of([Path(path)]) if path else None


def instance_for(name: str | None, preferred: str, language: str, workspace: Path | None) -> Instance:
    """The instance that a session on a document is of.

    Args:
        name: What the request names, if it does.
        preferred: What the settings name.
        language: The document's.
        workspace: The folder it belongs to.

    Raises:
        RefusedError: None fits.
    """
    # Not at the top: a server that starts has no use for them and is in a hurry.
    from precision_shaking.sape.instances.catalogue import choose
    from precision_shaking.sape.instances.loading import DeclarationError

    try:
        return choose(name, preferred, language, workspace)
    except DeclarationError as error:
        raise RefusedError(str(error)) from error


def fitting(preferred: str, language: str, workspace: Path | None) -> list[Entry]:
    """The instances that fit a document, first the one that is taken where none is named.

    Args:
        preferred: What the settings name.
        language: The document's.
        workspace: The folder it belongs to.

    Raises:
        RefusedError: A declaration of the workspace cannot be used.
    """
    from precision_shaking.sape.instances.catalogue import catalogue, choose
    from precision_shaking.sape.instances.loading import DeclarationError

    try:
        found = [entry for entry in catalogue(workspace) if entry.instance.fits(language)]
    except DeclarationError as error:
        raise RefusedError(str(error)) from error
    first = ""
    # Where none is taken by itself, there is nothing to put first.
    with contextlib.suppress(DeclarationError):
        first = choose(None, preferred, language, workspace).name
    return sorted(found, key=lambda entry: entry.instance.name != first)
