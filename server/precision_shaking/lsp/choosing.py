"""Which instance a session on an open document is of."""

from __future__ import annotations

from pathlib import Path

from pygls.uris import to_fs_path

from precision_shaking.lsp.rpc import RefusedError


def workspace_of_document(uri: str) -> Path | None:
    """The folder that a document belongs to; None for one without a file."""
    from precision_shaking.sape.instances.workspace import workspace_of

    path = to_fs_path(uri) if uri.startswith("file:") else None
    return workspace_of([Path(path)]) if path else None


def instance_for(name: str | None, preferred: str, language: str, workspace: Path | None) -> str:
    """The name of the instance that a session on a document is of.

    Args:
        name: What the request names, if it does.
        preferred: What the settings name.
        language: The document's.
        workspace: The folder it belongs to.

    Raises:
        RefusedError: None fits, or it cannot be worked with in an editor.
    """
    # Not at the top: a server that starts has no use for them and is in a hurry.
    from precision_shaking.sape.instances.catalogue import choose
    from precision_shaking.sape.instances.loading import DeclarationError

    try:
        instance = choose(name, preferred, language, workspace)
    except DeclarationError as error:
        raise RefusedError(str(error)) from error
    if instance.document.several:
        raise RefusedError(
            f"The instance {instance.name} changes several files, which works on the command line only: "
            f"precision-shaking run --instance {instance.name}."
        )
    return instance.name
