"""The user's file: read as text, written back byte for byte except where lines changed."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Self

from attrs import define

from precision_shaking.merge import opcodes

_BOM = "\ufeff"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# Larger than any script; refused before any model is asked.
LARGEST_BYTES = 1_000_000


class DocumentError(Exception):
    """The file cannot be read or written; the message is one sentence for the user."""


@define
class Document:
    """A text file as it was last read or written.

    Attributes:
        path: Where it is.
        raw: Its content, decoded, with its own line ends and byte order mark.
    """

    path: Path
    raw: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            DocumentError: It is missing, unreadable, too large, empty or no UTF-8.
        """
        return cls(path, _read(path))

    @property
    def text(self) -> str:
        """The content with plain line feeds, without a byte order mark, ending with one line feed."""
        return as_text(self.raw)

    def replace(self, text: str) -> None:
        """Write another text into the file, at once or not at all.

        Lines that stay keep their line ends; new ones get the file's usual one. A missing final line end
        stays missing.

        Raises:
            DocumentError: The file was changed by somebody else, or cannot be written.
        """
        if _read(self.path) != self.raw:
            raise DocumentError(f"{self.path} was changed meanwhile: it is left as it is.")
        raw = like(self.raw, text)
        try:
            _write(self.path, raw.encode("utf-8"))
        except OSError as error:
            raise DocumentError(f"{self.path} cannot be written: {error.strerror}.") from error
        self.raw = raw


def as_text(raw: str) -> str:
    """A content with plain line feeds, without a byte order mark, ending with one line feed."""
    return raw.removeprefix(_BOM).replace("\r\n", "\n").rstrip("\n") + "\n"


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DocumentError(f"There is no file {path}: check its name.") from error
    except OSError as error:
        raise DocumentError(f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > LARGEST_BYTES:
        raise DocumentError(f"{path} has {len(data):,} bytes; the most is {LARGEST_BYTES:,}.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{path} is no UTF-8 text: save it as UTF-8 first.") from error
    if not text.strip(_BOM + " \t\r\n"):
        raise DocumentError(f"{path} is empty: there is nothing to change.")
    return text


def like(raw: str, text: str) -> str:
    """The new text with the old one's line ends, byte order mark and kind of ending."""
    bom = _BOM if raw.startswith(_BOM) else ""
    old = _LINE.findall(raw.removeprefix(_BOM))
    new = _LINE.findall(text)
    usual = "\r\n" if 2 * sum(line.endswith("\r\n") for line in old) > len(old) else "\n"
    bare = [line.rstrip("\r\n") for line in old]
    lines: list[str] = []
    position = 0
    for old_from, old_to, new_from, new_to in opcodes(bare, [line.rstrip("\r\n") for line in new]):
        lines += old[position:old_from]
        lines += [line.rstrip("\r\n") + usual for line in new[new_from:new_to]]
        position = old_to
    lines += old[position:]
    # The old last line may have had no end and stand elsewhere now.
    ended = [line if line.endswith("\n") else line + usual for line in lines]
    joined = "".join(ended)
    return bom + (joined if raw.endswith("\n") else joined.rstrip("\r\n"))


def _write(path: Path, data: bytes) -> None:
    """Replace a file's content atomically; its mode, and a link that leads to it, stay."""
    target = path.resolve()
    mode = target.stat().st_mode & 0o7777
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
