"""What a document is: one file, or several in one text. The engine asks the declared object, by no name."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol

from attrs import frozen

from precision_shaking.sape.formats import omissions
from precision_shaking.sape.instances import filesets
from precision_shaking.sape.instances.workspace import place_of, relative_name


class DocumentFaultError(ValueError):
    """A text cannot be the document's; the message is one sentence."""


class Document(Protocol):
    """A kind of document."""

    kind: ClassVar[str]
    several: ClassVar[bool]

    def read(self, before: str, text: str, root: Path | None) -> str:
        """The whole document that an answer (or a user's own text) means.

        Raises:
            DocumentFaultError: It means none.
        """

    def fault(self, before: str, after: str) -> str:
        """Why a worker's document must not be shown all the same; empty when it may be."""

    def files(self, text: str, name: str, root: Path | None) -> dict[str, str]:
        """The files that the document stands for, by their paths in the workspace."""

    def written(self, before: str, after: str, name: str, root: Path | None) -> dict[str, str]:
        """Those of `after` that are not as in `before`."""


@frozen
class OneFile:
    """The text is the file.

    Attributes:
        code: Whether comments that stand for code which was left out are looked for.
    """

    kind: ClassVar[str] = "file"
    several: ClassVar[bool] = False
    code: bool = True

    def read(self, before: str, text: str, root: Path | None) -> str:  # noqa: ARG002 - see Document
        """The text itself."""
        return text

    def fault(self, before: str, after: str) -> str:
        """See `Document`."""
        return _left_out(before, after) if self.code else ""

    def files(self, text: str, name: str, root: Path | None) -> dict[str, str]:
        """See `Document`."""
        return {relative_name(name, root): text}

    def written(self, before: str, after: str, name: str, root: Path | None) -> dict[str, str]:
        """See `Document`."""
        return self.files(after, name, root) if after != before else {}


@frozen
class SeveralFiles:
    """The text holds several files (`filesets`); an answer only has to hold those that it changes.

    Attributes:
        beside: Names of files that belong to each named file even before they exist; `{stem}` is its name
            without its ending.
        writes: Patterns of the files that may be written; all others are only read.
    """

    kind: ClassVar[str] = "files"
    several: ClassVar[bool] = True
    beside: tuple[str, ...] = ()
    writes: tuple[str, ...] = ("*",)

    def read(self, before: str, text: str, root: Path | None) -> str:
        """The set of before with the text's files in place of its own."""
        try:
            known, said = filesets.parse(before), filesets.parse(text)
            for path, content in said.items():
                if content == known.get(path):
                    continue
                if not filesets.matches(path, self.writes):
                    raise DocumentFaultError(f"It changes {path}, which may only be read.")
                if root is not None:
                    _see_that_it_is_new(root, path, known)
            return filesets.render({**known, **said})
        except filesets.FileSetError as error:
            raise DocumentFaultError(str(error)) from error

    def fault(self, before: str, after: str) -> str:
        """See `Document`."""
        known = filesets.parse(before)
        faults = (_left_out(known.get(path, ""), text) for path, text in filesets.parse(after).items())
        return next(filter(None, faults), "")

    def files(self, text: str, name: str, root: Path | None) -> dict[str, str]:  # noqa: ARG002
        """See `Document`."""
        return {path: content for path, content in filesets.parse(text).items() if content}

    def written(self, before: str, after: str, name: str, root: Path | None) -> dict[str, str]:  # noqa: ARG002
        """See `Document`."""
        known = filesets.parse(before)
        return {path: text for path, text in filesets.parse(after).items() if text != known.get(path)}


KINDS: dict[str, type[OneFile] | type[SeveralFiles]] = {kind.kind: kind for kind in (OneFile, SeveralFiles)}


def _see_that_it_is_new(root: Path, path: str, known: dict[str, str]) -> None:
    """A file that the agents were not shown must not be replaced by one that they wrote."""
    place = place_of(root, path)
    if path not in known and place.exists():
        raise DocumentFaultError(f"It replaces {path}, which is there and was not named.")


def _left_out(before: str, after: str) -> str:
    left_out = omissions(before, after)
    return f"The teacher left out code, it wrote {left_out[0]!r} instead." if left_out else ""
