"""The dataset's tables, one level above SQL: units of work, inserts, texts by content, look-ups by uid."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen
from sqlite_utils import Database

from dorpo.store.connection import immediate
from dorpo.store.errors import StoreError, explain
from dorpo.store.reading import checksum


@frozen
class StepPlace:
    """A step as the file knows it."""

    id: int
    status: str
    prompt: int | None


@frozen
class AttemptPlace:
    """An attempt as the file knows it."""

    id: int
    step_id: int
    cycle: int
    cause: str


class Tables:
    """An open file and the lock that lets several threads use it, one at a time."""

    def __init__(self, db: Database, path: Path) -> None:
        self.db = db
        self.path = path
        self._lock = threading.RLock()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self.db.conn.close()

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Keep other threads away, and say SQLite's errors in the user's words."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise explain(error, self.path) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[None]:
        """One transaction; see `immediate`. Inside of another one it is a part of that."""
        with self.read():
            # Whoever holds the lock while a transaction runs began it themselves.
            inside = self.db.conn.in_transaction
            with contextlib.nullcontext() if inside else immediate(self.db):
                yield

    def run(self, sql: str, *values: Any) -> None:
        """Execute a statement that has no result."""
        self.db.execute(sql, values)

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first record of a query."""
        found: tuple[Any, ...] | None = self.db.execute(sql, values).fetchone()
        return found

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """All records of a query."""
        return self.db.execute(sql, values).fetchall()

    def insert(self, table: str, **columns: Any) -> int:
        """Insert one record and return its integer key."""
        return int(self.db.table(table).insert(columns).last_rowid or 0)

    def text(self, body: str) -> int:
        """The key of a text, which is stored once however often it is used."""
        body = storable(body)
        sha256 = checksum(body)
        known = self.one("SELECT id FROM text WHERE sha256 = ?", sha256)
        return int(known[0]) if known else self.insert("text", sha256=sha256, body=body)

    def session(self, uid: str) -> int:
        """The key of a session."""
        found = self.one("SELECT id FROM session WHERE uid = ?", uid)
        if found is None:
            raise StoreError(f"The dataset {self.path} has no session {uid}: it may have been deleted.")
        return int(found[0])

    def step(self, session_uid: str, n: int) -> StepPlace:
        """A step of a session by its number, from 0."""
        session = self.session(session_uid)
        found = self.one("SELECT id, status, prompt FROM step WHERE session_id = ? AND n = ?", session, n)
        if found is None:
            raise StoreError(f"Session {session_uid} has no step {n}: its plan was not stored.")
        return StepPlace(*found)

    def attempt(self, uid: str) -> AttemptPlace:
        """An attempt by its uid."""
        found = self.one("SELECT id, step_id, cycle, cause FROM attempt WHERE uid = ?", uid)
        if found is None:
            raise StoreError(f"The dataset {self.path} has no attempt {uid}: it may have been deleted.")
        return AttemptPlace(*found)


def now() -> str:
    """The time, as every table keeps it: ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def storable(body: str) -> str:
    """The text in a form that UTF-8 can hold: a model can write half of a surrogate pair."""
    return body.encode("utf-8", "replace").decode()
