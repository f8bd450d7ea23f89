"""Where a session's text lies in the editor: in one document, or in several files (`several.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

from attrs import frozen
from pygls.uris import to_fs_path

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

BOM = "\ufeff"


@frozen
class Live:
    """A file as it is now.

    Attributes:
        uri: Where it is.
        source: What it holds, with its own line ends; empty when it is not there.
        text: The same as the engine sees it.
        version: The open document's; None when it is not open.
        exists: Whether it is there.
    """

    uri: str
    source: str
    text: str
    version: int | None
    exists: bool = True


class Place(Protocol):
    """What a session's text stands for. Files have names that only the place can read."""

    several: ClassVar[bool]

    def files(self, text: str) -> dict[str, str]:
        """The files of a text that the engine knows."""

    def text(self, files: Mapping[str, str]) -> str:
        """The one text of these files.

        Raises:
            RefusedError: They cannot be one.
        """

    def name_of(self, uri: str) -> str | None:
        """What a document is called here; None when it cannot be a file of this place."""

    def uri_of(self, name: str) -> str:
        """Where a file is, for a client that names it again."""

    def whole(self, before: str, text: str) -> str:
        """The text that a text of the user's own means.

        Raises:
            RefusedError: It means none.
        """

    def read(self, server: Server, names: Iterable[str]) -> dict[str, Live]:
        """The files as they are now, unsaved changes and all.

        Raises:
            RefusedError: One cannot be read.
        """


@frozen
class OneDocument:
    """An open document; its name is its URI."""

    several: ClassVar[bool] = False
    uri: str

    def files(self, text: str) -> dict[str, str]:
        """See `Place`."""
        return {self.uri: text}

    def text(self, files: Mapping[str, str]) -> str:
        """See `Place`."""
        return files[self.uri]

    def name_of(self, uri: str) -> str | None:
        """See `Place`."""
        return uri if uri == self.uri else None

    def uri_of(self, name: str) -> str:
        """See `Place`."""
        return name

    def whole(self, before: str, text: str) -> str:  # noqa: ARG002 - see Place
        """See `Place`."""
        return text

    def read(self, server: Server, names: Iterable[str]) -> dict[str, Live]:
        """See `Place`."""
        documents = {name: server.document(name) for name in names}
        return {
            name: Live(document.uri, document.source, document.text, document.version)
            for name, document in documents.items()
        }


def path_of(uri: str) -> str | None:
    """Where a document's file is; None for one that has none."""
    return to_fs_path(uri) if uri.startswith("file:") else None


def standing(server: Server, place: Place, names: Iterable[str]) -> str:
    """The text that these files are now.

    Raises:
        RefusedError: They cannot be read, or are none.
    """
    return place.text({name: live.text for name, live in place.read(server, names).items()})
