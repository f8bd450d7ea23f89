"""`python -m dorpo sessions` and `delete`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dorpo.cli import main
from dorpo.store import Store

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story


@pytest.fixture
def dataset(store: Store, story: type[Story]) -> str:
    for name in ("first", "second"):
        session = story(store, name, steps=2)
        session.rejected("redo", 0)
        session.accepted(0, cause="redo")
        store.end_session(name, "done")
    row = next(row.uid for row in store.rows() if row.session == "first")
    store.start_training("training-1", dataset_sha256="0", rows=[row], student="s", config="{}", output="o")
    return str(store.path)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def sessions(store: Store) -> list[str]:
    return [session.uid for session in store.sessions()]


def test_sessions_are_listed_for_people_and_programs(
    dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sessions", "--db", dataset]) == 0
    first, second = capsys.readouterr().out.splitlines()
    for words in ("first ", "done", "2 steps, 1 row ", "file:///first.py"):
        assert words in first
    assert second.startswith("second ")
    assert main(["sessions", "--db", dataset, "--json"]) == 0
    [one, _] = map(json.loads, capsys.readouterr().out.splitlines())
    created, ended = one.pop("created_at"), one.pop("ended_at")
    assert created <= ended
    assert one == {"uid": "first", "document": "file:///first.py", "status": "done", "steps": 2, "rows": 1}


def test_a_session_is_deleted_and_its_trainings_are_named(
    dataset: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["delete", "--db", dataset, "--session", "first", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "deleted  first" in said
    assert "1 session with 1 row deleted." in said
    assert "training-1" in said
    assert sessions(store) == ["second"]
    assert b"request of first" not in store.path.read_bytes()


def test_all_are_deleted(dataset: str, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", "--db", dataset, "--all", "--yes"]) == 0
    assert "2 sessions with 2 rows deleted." in capsys.readouterr().out
    assert (sessions(store), list(store.rows())) == ([], [])
    assert main(["delete", "--db", dataset, "--all"]) == 0
    assert capsys.readouterr().out == "0 sessions with 0 rows deleted.\n"


@pytest.mark.parametrize(
    ("answer", "status", "left"),
    [("y\n", 0, []), ("YES\n", 0, []), ("\n", 1, ["first", "second"]), ("", 1, ["first", "second"])],
)
def test_the_user_is_asked_at_a_terminal(
    dataset: str,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    status: int,
    left: list[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert main(["delete", "--db", dataset, "--all"]) == status
    assert "Delete 2 sessions for good? [y/N]" in capsys.readouterr().out
    assert sessions(store) == left


def test_without_a_terminal_nothing_is_deleted_unasked(dataset: str, store: Store) -> None:
    command = [sys.executable, "-m", "dorpo", "delete", "--db", dataset, "--all"]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Nobody is there to ask whether to delete: add --yes to do it.\n"
    assert sessions(store) == ["first", "second"]


def test_a_session_that_is_not_there_is_said(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["delete", "--db", dataset, "--session", "third", "--yes"]) == 2
    assert "has no session third" in capsys.readouterr().err


def test_it_must_be_said_what_to_delete(dataset: str) -> None:
    for arguments in ([], ["--all", "--session", "first"]):
        with pytest.raises(SystemExit) as exit_:
            main(["delete", "--db", dataset, *arguments])
        assert exit_.value.code == 2


def test_prompts_that_quote_from_a_deleted_session_go_too(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRECISION_SHAKING_HOME", str(tmp_path))
    folder = tmp_path / "programs" / "script-worker" / "a-b-00000000"
    folder.mkdir(parents=True)
    for name, uid in (("current", "first"), ("previous", "second")):
        (folder / f"{name}.json").write_text(json.dumps({"made_of": [f"{uid}/0"]}))
    assert main(["delete", "--db", dataset, "--session", "first", "--yes"]) == 0
    assert f"deleted  {folder / 'current.json'}" in capsys.readouterr().out
    assert [path.name for path in folder.iterdir()] == ["previous.json"]
