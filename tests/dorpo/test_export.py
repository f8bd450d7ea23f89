"""The rows in other programs' formats."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from dorpo.export import Exported, export
from dorpo.rendering import to_messages
from dorpo.store import Row, Store

if TYPE_CHECKING:
    from tests.dorpo.conftest import Story


@pytest.fixture
def rows(store: Store, story: type[Story]) -> list[Row]:
    session = story(store, steps=2)
    session.rejected("redo", 0)
    session.accepted(0, cause="redo", soft=True)
    session.accepted(1)
    return list(store.rows())


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def assistant(text: str | None) -> list[dict[str, str | None]]:
    return [{"role": "assistant", "content": text}]


def test_trl_gets_conversations_and_a_missing_rejected_is_null(rows: list[Row], tmp_path: Path) -> None:
    output = tmp_path / "trl.jsonl"
    assert export(rows, output, "trl") == Exported(written=2, skipped=0, redacted=0)
    assert read(output) == [
        {
            "prompt": to_messages(rows[0].prompt),
            "chosen": assistant(rows[0].chosen),
            "rejected": assistant(rows[0].rejected),
        },
        {"prompt": to_messages(rows[1].prompt), "chosen": assistant(rows[1].chosen), "rejected": None},
    ]


def test_openai_gets_pairs_only(rows: list[Row], tmp_path: Path) -> None:
    output = tmp_path / "openai.jsonl"
    assert export(rows, output, "openai") == Exported(written=1, skipped=1, redacted=0)
    assert read(output) == [
        {
            "input": {"messages": to_messages(rows[0].prompt)},
            "preferred_output": assistant(rows[0].chosen),
            "non_preferred_output": assistant(rows[0].rejected),
        }
    ]


def test_one_row_is_one_line_whatever_it_holds(rows: list[Row], tmp_path: Path) -> None:
    odd = Row("u", "s", 0, "a\u2028b\x0c\r\n\x00", "é\U0001f600", None, None, "t", 1, None, None)
    export([odd, *rows], tmp_path / "odd.jsonl", "trl")
    first = read(tmp_path / "odd.jsonl")[0]
    assert first["prompt"] == to_messages(odd.prompt)
    assert first["chosen"] == assistant(odd.chosen)


def test_credentials_stay_at_home(rows: list[Row], tmp_path: Path) -> None:
    # Put together here, so that no scanner takes this file for a leak.
    key = "AK" + "IA" + "ABCDEFGHIJKLMN23"
    leaking = evolve(rows[0], prompt=f"use {key}", chosen=f"k = '{key}'", rejected=f"key = '{key}'")
    for line_format in ("trl", "openai"):
        output = tmp_path / f"{line_format}.jsonl"
        assert export([leaking], output, line_format) == Exported(written=1, skipped=0, redacted=3)
        assert key not in output.read_text()
        assert output.read_text().count("<SECRET:aws-access-key>") == 3


def test_a_failing_export_leaves_the_old_file_and_no_other(rows: list[Row], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    output = folder / "rows.jsonl"
    output.write_text("old")

    def failing() -> Iterator[Row]:
        yield from rows
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        export(failing(), output, "trl")
    assert [file.name for file in folder.iterdir()] == ["rows.jsonl"]
    assert output.read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_only_the_user_can_read_an_export(rows: list[Row], tmp_path: Path) -> None:
    export(rows, tmp_path / "rows.jsonl", "trl")
    assert stat.S_IMODE((tmp_path / "rows.jsonl").stat().st_mode) == 0o600
