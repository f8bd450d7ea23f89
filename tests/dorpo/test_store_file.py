"""Opening the dataset's file: whose it is, who may read it, and what is said when it cannot be opened."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dorpo.paths import home
from dorpo.store import Store, StoreError, default_path
from dorpo.store.connection import journal_mode
from dorpo.store.locking import file_lock

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")


def pragma(store: Store, name: str) -> object:
    return store._tables.one(f"PRAGMA {name}")[0]  # type: ignore[index]


@posix
def test_only_the_user_can_read_it(store: Store, story: type[Story]) -> None:
    story(store).accepted()
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in store.path.parent.iterdir()} == {0o600}


@posix
def test_a_folder_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Store.open(tmp_path / "dataset.db").close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_every_connection_is_careful(store: Store) -> None:
    assert pragma(store, "synchronous") == 2
    assert pragma(store, "foreign_keys") == 1
    assert pragma(store, "secure_delete") == 1
    assert pragma(store, "trusted_schema") == 0
    assert pragma(store, "busy_timeout") == 10_000
    assert pragma(store, "journal_mode") == journal_mode(sqlite3.sqlite_version_info)
    strict = "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict"
    assert store._tables.one(f"{strict} AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_sqlite_%'") == (0,)


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "delete"),
        ((3, 44, 5), "delete"),
        ((3, 44, 6), "wal"),
        ((3, 45, 0), "delete"),
        ((3, 50, 6), "delete"),
        ((3, 50, 7), "wal"),
        ((3, 51, 2), "delete"),
        ((3, 51, 3), "wal"),
        ((4, 0, 0), "wal"),
    ],
)
def test_the_write_ahead_log_is_used_only_where_it_loses_nothing(
    version: tuple[int, int, int], mode: str
) -> None:
    assert journal_mode(version) == mode


def test_opening_again_finds_everything(store: Store, story: type[Story]) -> None:
    story(store).accepted()
    store.close()
    with Store.open(store.path, create=False) as again:
        assert again.stats().rows == 1


@pytest.mark.parametrize("content", [b"hello", b"not a database " * 1000, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dataset.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="move it away"):
        Store.open(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dataset.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmarks(url)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database"):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_newer_schema_asks_for_an_update_and_is_left_alone(store: Store) -> None:
    insert = (
        "INSERT INTO _sqlite_migrations(migration_set, name, applied_at) VALUES ('dorpo', '9999_later', '')"
    )
    store._tables.run(insert)
    store.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match="newer version: update precision-shaking"):
        Store.open(store.path)
    assert store.path.read_bytes() == before


def test_a_missing_dataset_is_not_made_by_reading(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "dataset.db"
    with pytest.raises(StoreError, match="There is no dataset"):
        Store.open(path, create=False)
    assert not path.parent.exists()


def test_an_empty_file_becomes_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "dataset.db"
    path.touch()
    with Store.open(path) as store:
        assert store.stats().rows == 0


def test_a_place_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path / "file" / "dataset.db")
    with pytest.raises(StoreError):
        Store.open(tmp_path)


OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from dorpo.store import Store, StoreError
os.chdir(sys.argv[1])
if os.geteuid() == 0:  # root may write everywhere
    os.setgid(65534)
    os.setuid(65534)
try:
    Store.open(Path("dataset.db"))
except StoreError as error:
    sys.stdout.write(str(error))
"""


@posix
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(0o555)
    command = [sys.executable, "-c", OPEN_AS_NOBODY, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "cannot be opened (Permission denied): choose a writable place." in result.stdout


def test_a_lock_held_too_long_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path, seconds=1), pytest.raises(TimeoutError), file_lock(path, seconds=0.05):
        pass
    with file_lock(path, seconds=1):
        pass


def test_threads_share_one_store(store: Store, story: type[Story]) -> None:
    def tell(name: str) -> None:
        for number in range(5):
            story(store, f"{name}{number}").accepted()

    threads = [threading.Thread(target=tell, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.stats().rows == 20


def test_a_full_disk_is_said_in_words_and_loses_nothing(store: Store, story: type[Story]) -> None:
    def fill() -> None:
        for number in range(100):
            story(store, f"more{number}").accepted()

    story(store, "before").accepted()
    pages = pragma(store, "page_count")
    # The limit is SQLite's own way of being full.
    store._tables.run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full: free some space"):
        fill()
    store._tables.run("PRAGMA max_page_count = 1000000")
    assert pragma(store, "integrity_check") == "ok"
    story(store, "after").accepted()
    assert {"before", "after"} <= {row.session for row in store.rows()}


def test_the_default_place_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRECISION_SHAKING_HOME", str(tmp_path))
    assert home() == tmp_path
    assert default_path() == tmp_path / "dataset.db"
    monkeypatch.delenv("PRECISION_SHAKING_HOME")
    assert home().name == "precision-shaking"
    assert home().is_absolute()
