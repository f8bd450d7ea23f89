"""Opening the dataset's file safely while other windows and a training do the same."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlite_utils import Database

from dorpo.store.errors import StoreError, explain
from dorpo.store.locking import file_lock
from dorpo.store.schema import APPLICATION_ID, migrations, unknown_migrations

BUSY_SECONDS = 10.0


def open_database(path: Path, *, create: bool) -> Database:
    """Open and migrate the dataset.

    Args:
        path: The file; it and its folder are made for this user alone when they do not exist.
        create: Whether the file may be made.

    Raises:
        StoreError: It cannot be opened, is no dataset, or is newer than this code.
    """
    try:
        _prepare(path, create=create)
        # SQLite's busy timeout does not cover a change of the journal mode: whoever opens, opens alone.
        with file_lock(path.with_name(path.name + ".lock"), seconds=BUSY_SECONDS):
            return _open(path)
    except TimeoutError:
        raise StoreError(
            f"Another program has been opening the dataset {path} for too long: close it and try again."
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(
            f"The dataset {path} cannot be opened ({reason}): choose a writable place."
        ) from error
    except sqlite3.Error as error:
        raise explain(error, path) from error


def journal_mode(version: tuple[int, int, int]) -> str:
    """`wal` where it is safe, else `delete`.

    SQLite before 3.51.3 can lose commits when two connections meet at a checkpoint (https://sqlite.org/wal.html,
    "WAL-reset bug"); 3.50.7 and 3.44.6 carry the repair.
    """
    repaired = (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0)
    )
    return "wal" if repaired else "delete"


@contextlib.contextmanager
def immediate(db: Database) -> Iterator[None]:
    """One unit of work: all of it is stored, or nothing.

    The write lock is taken first: a transaction that began by reading is refused at once when it writes.
    """
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.conn.execute("COMMIT")
    except BaseException:
        # A full disk has rolled back already.
        if db.conn.in_transaction:
            db.conn.execute("ROLLBACK")
        raise


def _prepare(path: Path, *, create: bool) -> None:
    if not path.exists():
        if not create:
            raise StoreError(f"There is no dataset at {path}: the first session makes one.")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made before SQLite does it and lets everybody read it; its journals copy the file's mode.
        # Only a new one is opened here: closing an old one would drop the locks SQLite has in this process.
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _open(path: Path) -> Database:
    # mode=rw: a file that vanished meanwhile must not come back with open permissions.
    connection = sqlite3.connect(
        path.absolute().as_uri() + "?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Plugins of sqlite-utils are other people's code; none of it runs in this process.
        db = Database(connection, execute_plugins=False)
        _recognise(db, path)
        _configure(db)
        if migrations.pending(db):
            with immediate(db):
                migrations.apply(db)
    except BaseException:
        connection.close()
        raise
    return db


def _recognise(db: Database, path: Path) -> None:
    """Refuse what is not ours before anything is written to it."""
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    if not tables:
        return
    if owner != APPLICATION_ID:
        raise StoreError(f"{path} is another program's database: choose another file for the dataset.")
    if unknown_migrations(db):
        raise StoreError(f"The dataset {path} was written by a newer version: update precision-shaking.")


def _configure(db: Database) -> None:
    for pragma in (
        "synchronous = FULL",  # an answer the user gave once is never asked for again
        "foreign_keys = ON",
        "secure_delete = ON",  # deleted code is overwritten, not only unlinked
        "trusted_schema = OFF",
        "journal_size_limit = 16777216",
        "cell_size_check = ON",
    ):
        db.execute(f"PRAGMA {pragma}")
    wanted = journal_mode(sqlite3.sqlite_version_info)
    (current,) = db.execute("PRAGMA journal_mode").fetchone()
    if current != wanted:
        _change_journal_mode(db, wanted)


def _change_journal_mode(db: Database, wanted: str) -> None:
    """Needs the file for itself, so it is tried for a while and otherwise left to a later start."""
    deadline = time.monotonic() + 1.0
    while True:
        try:
            db.execute(f"PRAGMA journal_mode = {wanted}")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)
