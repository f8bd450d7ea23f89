"""What can go wrong with the dataset, said to the user in one sentence."""

from __future__ import annotations

import sqlite3
from pathlib import Path


class StoreError(Exception):
    """The dataset cannot be read or written; the message says what happened and what to do."""


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """The user's sentence for an error of SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    # Extended codes carry the primary one in their low byte.
    primary = None if code is None else code & 0xFF
    match primary:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreError(f"Another program keeps the dataset {path} locked: close it and try again.")
        case sqlite3.SQLITE_FULL:
            return StoreError(f"The disk of the dataset {path} is full: free some space and try again.")
        case sqlite3.SQLITE_CANTOPEN if path.is_dir():
            return StoreError(f"{path} is a folder: name a file for the dataset.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StoreError(f"The dataset {path} cannot be written: make it and its folder writable.")
        case sqlite3.SQLITE_NOTADB:
            return StoreError(f"{path} is not a dataset: move it away, or choose another file.")
        case sqlite3.SQLITE_CORRUPT:
            return StoreError(f"The dataset {path} is damaged: move it away, and a new one is made.")
        case sqlite3.SQLITE_IOERR:
            return StoreError(f"The disk of the dataset {path} fails ({error}): check it and try again.")
    return StoreError(f"The dataset {path} refused an operation ({error}): please report this.")
