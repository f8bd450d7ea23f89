"""Several windows and a training share one dataset, and any of them can be killed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dorpo.store import Store
from dorpo.store.schema import _MIGRATIONS

# Every acknowledged session is printed only after its last transaction has returned.
WRITER = """
import sys
from pathlib import Path
from dorpo.store import AttemptRecord, Store

path, name, count, padding = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), "x" * 4000
texts = dict(instruction="i", base_script="b", reasoning="r", script=padding)
with Store.open(path) as store:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(count):
        uid = f"{name}{number}"
        store.start_session(uid=uid, document="d", language="python", request="r", script="s",
                            instance="script", app_version="0")
        store.add_steps(uid, ["one"])
        store.fix_prompt(uid, 0, instruction=f"i {uid}", script="s")
        for cycle, cause in enumerate(("first", "redo"), 1):
            response = f"{uid} {cycle} {padding}"
            store.add_attempt(uid, 0, AttemptRecord(uid=f"{uid}-{cycle}", cycle=cycle, cause=cause,
                                                    teacher="t", response=response, **texts))
        store.reject(f"{uid}-1", "redo")
        store.accept(uid, 0, f"{uid}-2")
        sys.stdout.write(uid + "\\n")
        sys.stdout.flush()
"""

OPENER = """
import sys
from pathlib import Path
from dorpo.store import Store
sys.stdin.readline()
with Store.open(Path(sys.argv[1])) as store:
    sys.stdout.write(str(store.stats().rows))
"""


def start(program: str, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def release(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def sound(path: Path) -> bool:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        connection.close()


def test_two_windows_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "dataset.db"
    writers = [start(WRITER, path, name, "40") for name in "ab"]
    assert [line(writer) for writer in writers] == ["ready", "ready"]
    for writer in writers:
        release(writer)
    with Store.open(path) as store:
        while any(writer.poll() is None for writer in writers):
            # A reader in between sees whole rows only, and disturbs nobody.
            assert all(row.rejected and row.chosen for row in store.rows())
        acknowledged = [set(writer.communicate()[0].split()) for writer in writers]
        assert [writer.returncode for writer in writers] == [0, 0]
        assert [len(names) for names in acknowledged] == [40, 40]
        rows = list(store.rows())
    assert {row.session for row in rows} == set.union(*acknowledged)
    assert len(rows) == 80
    assert sound(path)


@pytest.mark.parametrize("acknowledged_before", [0, 1, 3, 7])
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path, acknowledged_before: int) -> None:
    path = tmp_path / "dataset.db"
    writer = start(WRITER, path, "s", "100000")
    assert line(writer) == "ready"
    release(writer)
    acknowledged = {line(writer) for _ in range(acknowledged_before)}
    writer.kill()
    acknowledged |= {uid for uid in writer.communicate()[0].split() if uid}
    with Store.open(path) as store:
        rows = list(store.rows())
        assert acknowledged <= {row.session for row in rows}
        # Nothing is half there: a row that is seen has both of its sides.
        assert all(f"{row.session} 2 " in row.chosen for row in rows)
        assert all(f"{row.session} 1 " in (row.rejected or "") for row in rows)
    assert sound(path)


def test_windows_that_start_together_migrate_once(tmp_path: Path) -> None:
    for attempt in range(4):
        path = tmp_path / f"{attempt}.db"
        openers = [start(OPENER, path) for _ in range(2)]
        for opener in openers:
            release(opener)
        results = [opener.communicate()[0] for opener in openers]
        assert [opener.returncode for opener in openers] == [0, 0]
        assert results == ["0", "0"]
        connection = sqlite3.connect(path)
        names = connection.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
        connection.close()
        assert [name for (name,) in names] == list(_MIGRATIONS)
