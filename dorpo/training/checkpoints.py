"""Checkpoints that are either whole or not there.

One is written to a scratch folder, described by a manifest with the checksum of each of its files, forced to
the disk, and only then given its name. A folder without a manifest, or whose files differ from it, is what a
killed process or a full disk left behind, and counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

MANIFEST = "manifest.json"
# So that the step before is there when the last one turns out to be bad.
KEPT = 2
_NAME = re.compile(r"checkpoint-(\d+)")
_SCRATCH = ".checkpoint-"


@frozen
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        folder: Where it is.
        step: Optimizer steps that were done.
        about: The training it belongs to, as its writer described it.
    """

    folder: Path
    step: int
    about: Mapping[str, Any]


@contextmanager
def publishing(output: Path, step: int, about: Mapping[str, Any]) -> Iterator[Path]:
    """Write the checkpoint of a step, and then remove all but the last ones.

    Args:
        output: The training's folder.
        step: Optimizer steps that are done.
        about: What tells this training from others; JSON.

    Yields:
        A scratch folder, in which the files belong into a folder named like `folder_of`'s.

    Raises:
        OSError: It cannot be written; the checkpoints before it are untouched.
    """
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=output))
    try:
        yield scratch
        whole = folder_of(scratch, step)
        _describe(whole, step, about)
        final = folder_of(output, step)
        _remove(final)
        whole.rename(final)
        _sync(output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for _, folder in _folders(output)[:-KEPT]:
        _remove(folder)


def latest(output: Path) -> Checkpoint | None:
    """The last whole checkpoint of a training's folder; damaged ones are passed over."""
    for step, folder in reversed(_folders(output)):
        if (about := _verified(folder)) is not None:
            return Checkpoint(folder, step, about)
    return None


def sweep(output: Path) -> None:
    """Remove the scratch folders of writers that were killed."""
    for scratch in output.glob(f"{_SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True)


def folder_of(output: Path, step: int) -> Path:
    """Where the checkpoint of a step lies in a folder: the name that the Trainer gives it."""
    return output / f"checkpoint-{step}"


def _folders(output: Path) -> list[tuple[int, Path]]:
    found = [(_NAME.fullmatch(path.name), path) for path in output.iterdir()] if output.is_dir() else []
    return sorted((int(match[1]), path) for match, path in found if match and path.is_dir())


def _describe(folder: Path, step: int, about: Mapping[str, Any]) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sums = {path.relative_to(folder).as_posix(): _checksum(path) for path in files}
    for path in files:
        _sync(path)
    manifest = folder / MANIFEST
    content = {"step": step, "about": about, "files": sums}
    manifest.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _sync(manifest)
    for inside in (path for path in folder.rglob("*") if path.is_dir()):
        _sync(inside)
    _sync(folder)


def _verified(folder: Path) -> dict[str, Any] | None:
    """What the manifest says of its training; None unless every file is as it says."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        sums, about = manifest["files"], manifest["about"]
        whole = bool(sums) and all(_checksum(folder / name) == known for name, known in sums.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return about if whole and isinstance(about, dict) else None


def _remove(folder: Path) -> None:
    """First the manifest: what is half removed is no checkpoint any more."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # folders cannot be opened there
    # Windows flushes only what is open for writing.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
