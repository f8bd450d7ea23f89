"""Several files as one text, so that agents, rows and diffs treat them as one document. Pure.

Each file follows a line `=== path ===`; its text ends with one line feed. Reading is strict, because what is
read may come from a model and ends up in the user's files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

_HEADER = re.compile(r"=== (.*) ===[ \t\r]*")
_LONGEST_PATH = 240
# Whoever writes there makes the user's tools run something, or changes what instances may do.
FORBIDDEN_FOLDERS = frozenset({".git", ".vscode", ".precision-shaking"})


class FileSetError(ValueError):
    """A text is no set of files, or a file cannot be in one; the message is one sentence."""


def render(files: Mapping[str, str]) -> str:
    """The set as one text.

    Raises:
        FileSetError: A path cannot be in a set, or a file has a line that looks like a header.
    """
    parts = []
    for path, text in files.items():
        check_path(path)
        if any(_HEADER.fullmatch(line) for line in text.split("\n")):
            raise FileSetError(f"{path} has a line that looks like the header of a file (=== … ===).")
        parts.append(f"=== {path} ===\n{ended(text)}")
    return "".join(parts)


def parse(text: str) -> dict[str, str]:
    """The files by their paths, in the text's order.

    Raises:
        FileSetError: Something stands before the first header, a path is not allowed or comes twice.
    """
    files: dict[str, str] = {}
    path, lines = "", list[str]()
    for line in text.split("\n"):
        header = _HEADER.fullmatch(line)
        if header is None:
            lines.append(line)
            continue
        _close(files, path, lines)
        path, lines = header[1].strip(), []
        check_path(path)
        if path in files:
            raise FileSetError(f"The file {path} is there twice.")
        files[path] = ""
    _close(files, path, lines)
    if not files:
        raise FileSetError("It has no header of a file (=== path ===).")
    return files


def check_path(path: str) -> None:
    """See that a path is a plain relative one inside the workspace.

    Raises:
        FileSetError: It is not.
    """
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs"} for character in path):
        raise FileSetError("A file's name has invisible characters.")
    parts = path.split("/")
    # What other systems read as another folder or drive, or drop from the end of a name, is refused too.
    plain = all(part.strip(" .") and part == part.rstrip(" .") for part in parts)
    if not plain or "\\" in path or ":" in path or len(path) > _LONGEST_PATH:
        raise FileSetError(f"{path[:80]!r} is no path inside the workspace.")
    if FORBIDDEN_FOLDERS & {part.casefold() for part in parts}:
        raise FileSetError(f"{path[:80]!r} is in a folder that must not be changed.")


def matches(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path fits one of the patterns: of its name, or of its end where they have folders."""
    return any(PurePosixPath(path).match(pattern) for pattern in patterns)


def ended(text: str) -> str:
    """A file's text as a set holds it: it ends with one line feed, or is empty."""
    bare = text.rstrip("\n")
    return f"{bare}\n" if bare.strip() else ""


def _close(files: dict[str, str], path: str, lines: list[str]) -> None:
    text = ended("\n".join(lines))
    if path:
        files[path] = text
    elif text.strip():
        raise FileSetError("It has text before the header of its first file.")
