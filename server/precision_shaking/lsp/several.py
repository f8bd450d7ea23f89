"""Several files of the workspace as one session's text. What the user sees counts, saved or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from precision_shaking.document import LARGEST_BYTES, DocumentError
from precision_shaking.documents import content, named_files
from precision_shaking.lsp.documents import normalise
from precision_shaking.lsp.places import BOM, Live, path_of, standing
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape.instances import documents, filesets
from precision_shaking.sape.instances.workspace import place_of, workspace_of

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server
    from precision_shaking.sape.instances.declaration import Instance


@frozen
class SeveralFiles:
    """Files below a folder; their names are their paths there.

    Attributes:
        root: The workspace.
        document: What the instance says of its documents.
    """

    several: ClassVar[bool] = True
    root: Path
    document: documents.SeveralFiles = field(factory=documents.SeveralFiles)

    def files(self, text: str) -> dict[str, str]:
        """See `Place`."""
        return filesets.parse(text)

    def text(self, files: Mapping[str, str]) -> str:
        """See `Place`."""
        try:
            return filesets.render(files)
        except filesets.FileSetError as error:
            raise RefusedError(str(error)) from error

    def name_of(self, uri: str) -> str | None:
        """See `Place`."""
        path = path_of(uri)
        inside = path is not None and Path(path).is_relative_to(self.root)
        return Path(path).relative_to(self.root).as_posix() if path is not None and inside else None

    def uri_of(self, name: str) -> str:
        """See `Place`."""
        return (self.root / name).as_uri()

    def whole(self, before: str, text: str) -> str:
        """See `Place`."""
        try:
            return self.document.read(before, text, self.root)
        except documents.DocumentFaultError as error:
            raise RefusedError(f"Your text cannot be used: {error}") from error

    def read(self, server: Server, names: Iterable[str]) -> dict[str, Live]:
        """See `Place`."""
        opened = {path_of(one.uri): one for one in server.workspace.text_documents.values()}
        found = {}
        for name in names:
            try:
                path = place_of(self.root, name)
                document = opened.get(str(path))
                source = document.source if document else content(path)
            except (DocumentError, filesets.FileSetError) as error:
                raise RefusedError(str(error)) from error
            uri, version = (document.uri, document.version) if document else (path.as_uri(), None)
            shown = (source or "").removeprefix(BOM)
            found[name] = Live(uri, shown, filesets.ended(normalise(shown)), version, source is not None)
        return found


def beginning(server: Server, instance: Instance, uri: str, named: Sequence[str]) -> tuple[SeveralFiles, str]:
    """Where the files of a session lie, and the text it begins with.

    Args:
        server: Whose session it is to be.
        instance: One of several files.
        uri: The document that it is started on.
        named: The other files that the user named; without any, those that are open.

    Raises:
        RefusedError: They cannot be read, cannot be one text, are too much, or one has a session already.
    """
    document = _document(instance)
    uris = list(dict.fromkeys([uri, *(named or open_files(server, instance, uri))]))
    paths = _paths(uris)
    for path, other in zip(paths, uris, strict=True):
        if server.sessions.of(other) is not None:
            raise RefusedError(f"A session on {path.name} is running already; answer or stop it first.")
    place = SeveralFiles(workspace_of(paths), document)
    try:
        names = named_files(place.root, paths, document.beside)
    except DocumentError as error:
        raise RefusedError(str(error)) from error
    text = standing(server, place, names)
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_BYTES:
        raise RefusedError(f"The files have more than {LARGEST_BYTES:,} bytes together: name fewer.")
    return place, text


def open_files(server: Server, instance: Instance, uri: str) -> list[str]:
    """The files that a session begins with unless others are named: those that are open in its workspace.

    None where there is no choice: the instance is for one file, or says itself which files belong to it.
    """
    start, document = path_of(uri), instance.document
    if not isinstance(document, documents.SeveralFiles) or document.beside or start is None:
        return []
    place = SeveralFiles(workspace_of([Path(start)]), document)
    others = [other for other in server.workspace.text_documents if other != uri and _fits(place, other)]
    return [uri, *sorted(others)]


def _paths(uris: Iterable[str]) -> list[Path]:
    """Where the files are that the user named.

    Raises:
        RefusedError: One has no file.
    """
    paths = []
    for uri in uris:
        path = path_of(uri)
        if path is None:
            raise RefusedError("A change of several files needs files: save the document first.")
        paths.append(Path(path))
    return paths


def _document(instance: Instance) -> documents.SeveralFiles:
    if not isinstance(instance.document, documents.SeveralFiles):
        raise TypeError(f"{instance.name} is for one file")
    return instance.document


def _fits(place: SeveralFiles, uri: str) -> bool:
    name = place.name_of(uri)
    # Hidden files hold secrets and settings: those go to a teacher only when somebody names them.
    if name is None or any(part.startswith(".") for part in name.split("/")):
        return False
    try:
        return place_of(place.root, name).is_file()
    except filesets.FileSetError:
        return False
