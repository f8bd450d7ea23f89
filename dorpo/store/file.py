"""The dataset's file: opened, held, let go."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from sqlite_utils import Database

from dorpo.store.connection import open_database
from dorpo.store.tables import Tables


class DatasetFile:
    """An open dataset; `path` is where it lies. It closes itself as a context manager."""

    def __init__(self, db: Database, path: Path) -> None:
        self.path = path
        self._tables = Tables(db, path)

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Open the dataset, making it when it is not there yet and `create` is set.

        Raises:
            StoreError: It cannot be opened, is no dataset, or was written by a newer version.
        """
        return cls(open_database(path, create=create), path)

    def close(self) -> None:
        """Let go of the file."""
        self._tables.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
