"""Several of the user's files as one document: read together, written all or none."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from attrs import define

from precision_shaking.document import LARGEST_BYTES, DocumentError, as_text, like
from precision_shaking.sape.instances.filesets import FileSetError, parse, render
from precision_shaking.sape.instances.workspace import place_of, visible_files

_MOST_FILES = 200


@define
class Documents:
    """Files of a workspace as they were last read or written.

    Attributes:
        root: The workspace.
        raw: Each file's content by its path there, with its own line ends; None for one that is not there.
    """

    root: Path
    raw: dict[str, str | None]

    @classmethod
    def read(cls, root: Path, names: Sequence[str]) -> Self:
        """Read files; those that are missing are part of the document too.

        Raises:
            DocumentError: One is outside the workspace, unreadable, no UTF-8, or all together are too large.
        """
        read = cls(root, {name: content(_place(root, name)) for name in names})
        if len(read.text.encode("utf-8", "surrogatepass")) > LARGEST_BYTES:
            raise DocumentError(f"The files have more than {LARGEST_BYTES:,} bytes together: name fewer.")
        return read

    @property
    def path(self) -> Path:
        """Where the files are."""
        return self.root

    @property
    def text(self) -> str:
        """The set as one text."""
        try:
            return render({name: as_text(raw) if raw else "" for name, raw in self.raw.items()})
        except FileSetError as error:
            raise DocumentError(str(error)) from error

    def replace(self, text: str) -> None:
        """Write those files that another text of the set changes: all of them, or none.

        Raises:
            DocumentError: One was changed by somebody else, must not be written, or cannot be.
        """
        try:
            known, wanted = parse(self.text), parse(text)
        except FileSetError as error:
            raise DocumentError(str(error)) from error
        changed = {name: content for name, content in wanted.items() if content != known.get(name, "")}
        places = {name: _place(self.root, name) for name in changed}
        for name, place in places.items():
            if content(place) != self.raw.get(name):
                raise DocumentError(f"{place} was changed meanwhile: no file is written.")
        written = {
            name: like(old, content) if (old := self.raw.get(name)) else content
            for name, content in changed.items()
        }
        try:
            _write_all({places[name]: content.encode("utf-8") for name, content in written.items()})
        except OSError as error:
            raise DocumentError(f"The files cannot be written: {error.strerror}. None is changed.") from error
        self.raw.update(written)


def named_files(root: Path, paths: Sequence[Path], beside: Sequence[str]) -> list[str]:
    """The paths in the workspace of the files that a user named, and of those that belong to them.

    A folder stands for the text files in it.

    Raises:
        DocumentError: One is not there or outside the workspace, or there are too many.
    """
    names: dict[str, None] = {}
    for path in paths:
        for file in _files(path):
            if not file.absolute().is_relative_to(root):
                raise DocumentError(f"{file} is outside the workspace {root}.")
            names[file.absolute().relative_to(root).as_posix()] = None
            for pattern in beside:
                other = file.absolute().with_name(pattern.replace("{stem}", file.stem))
                if not file.stem.startswith("test_"):
                    names[other.relative_to(root).as_posix()] = None
    if len(names) > _MOST_FILES:
        raise DocumentError(f"These are {len(names)} files; {_MOST_FILES} are the most.")
    return list(names)


def content(place: Path) -> str | None:
    """What a file holds, with its own line ends; None when it is not there.

    Raises:
        DocumentError: It cannot be read, or is no UTF-8.
    """
    try:
        return place.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise DocumentError(f"{place} is no UTF-8 text: save it as UTF-8 first.") from error
    except OSError as error:
        raise DocumentError(f"{place} cannot be read: {error.strerror}.") from error


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        for file in visible_files(path):
            with contextlib.suppress(UnicodeDecodeError):
                file.read_bytes().decode("utf-8")
                yield file
    elif path.exists():
        yield path
    else:
        raise DocumentError(f"There is no file {path}: check its name.")


def _place(root: Path, name: str) -> Path:
    try:
        return place_of(root, name)
    except FileSetError as error:
        raise DocumentError(str(error)) from error


def _write_all(contents: Mapping[Path, bytes]) -> None:
    """Put every content beside its file first, so that only renaming can still fail; then undo that too."""
    with contextlib.ExitStack() as stack:
        staged = {place: _staged(stack, place, data) for place, data in contents.items()}
        kept = {place: place.read_bytes() if place.exists() else None for place in staged}
        done: list[Path] = []
        try:
            for place, temporary in staged.items():
                temporary.replace(place)
                done.append(place)
        except OSError:
            for place in done:
                with contextlib.suppress(OSError):
                    _put_back(place, kept[place])
            raise


def _staged(stack: contextlib.ExitStack, place: Path, data: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    temporary = Path(name)
    stack.callback(temporary.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    # A file of a user's own is readable by whom their other files are.
    temporary.chmod(place.stat().st_mode & 0o7777 if place.exists() else 0o644)
    return temporary


def _put_back(place: Path, content: bytes | None) -> None:
    if content is None:
        place.unlink()
    else:
        place.write_bytes(content)
