"""The user's workspace as instances see it: where it is, which file is meant, and a copy to run things in."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import url2pathname

from precision_shaking.sape.instances.filesets import FileSetError, check_path

DECLARATIONS = ".precision-shaking"
_MARKS = (DECLARATIONS, ".git")
_MOST_FILES = 4000
_MOST_BYTES = 48 * 1024**2
_LEFT_OUT = {"node_modules", "__pycache__"}


class WorkspaceError(Exception):
    """The workspace cannot be used; the message is one sentence for the user."""


def workspace_of(paths: Sequence[Path]) -> Path:
    """The folder that these belong to: the nearest above all of them that is marked as one, or their own."""
    absolute = [path.absolute() for path in paths]
    folders = [path if path.is_dir() else path.parent for path in absolute]
    shared = folders[0]
    while not all(folder.is_relative_to(shared) for folder in folders):
        shared = shared.parent
    for candidate in (shared, *shared.parents):
        if candidate == Path.home():
            break
        if any((candidate / mark).exists() for mark in _MARKS):
            return candidate
    return shared


def relative_name(document: str, root: Path | None) -> str:
    """A document's path in its workspace, for a path or file URI; its plain name where it is in none."""
    _, separator, _ = document.partition("://")
    path = Path(url2pathname(urlsplit(document).path)) if separator else Path(document)
    if root is not None and path.is_absolute() and path.is_relative_to(root):
        return path.relative_to(root).as_posix()
    return path.name or "script.py"


def place_of(root: Path, path: str) -> Path:
    """Where a file of the workspace is.

    Raises:
        FileSetError: The path is not allowed, or leads through a symbolic link.
    """
    check_path(path)
    place = root
    for part in PurePosixPath(path).parts:
        place = place / part
        if place.is_symlink():
            raise FileSetError(f"{path!r} leads through a symbolic link.")
    return place


def copy_workspace(root: Path | None, changed: Mapping[str, str], into: Path) -> None:
    """Copy what a command may see, with the candidate's files in place of the workspace's.

    Links, hidden folders, environments and files of secrets stay behind.

    Raises:
        WorkspaceError: There is too much of it.
        OSError: A file cannot be read or written.
    """
    # The sandbox's user is a stranger who reads it; others do not come through the folder around it.
    into.mkdir(mode=0o755)
    files, size = 0, 0
    for source in visible_files(root) if root is not None else ():
        files, size = files + 1, size + source.stat().st_size
        if files > _MOST_FILES or size > _MOST_BYTES:
            raise WorkspaceError(
                f"The folder {root} is too large to be copied for a run: make a folder {DECLARATIONS} in the "
                "part of it that is enough."
            )
        target = into / source.relative_to(root or source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)
    for path, text in changed.items():
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8", newline="\n")


def visible_files(folder: Path) -> Iterator[Path]:
    """The files that a copy holds, in a fixed order."""
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() or entry.name in _LEFT_OUT or entry.name.startswith(".env"):
            continue
        if entry.is_dir():
            # A virtual environment is made for the machine, not for a copy.
            if not entry.name.startswith(".") and not (entry / "pyvenv.cfg").exists():
                yield from visible_files(entry)
        elif entry.is_file():
            yield entry
