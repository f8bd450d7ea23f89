"""The rows in other programs' formats."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import evolve
from pyarrow import parquet

from dorpo import softlabels
from dorpo.export import Exported, export
from dorpo.parquet import ParquetUnavailableError, export_parquet
from dorpo.rendering import to_messages
from dorpo.softlabels import TokenScore
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


def test_parquet_has_everything_that_is_known_of_a_row(rows: list[Row], tmp_path: Path) -> None:
    output = tmp_path / "rows.parquet"
    assert export_parquet(rows, output) == Exported(written=2, skipped=0, redacted=0)
    first, second = parquet.read_table(output).to_pylist()
    assert first["prompt"] == to_messages(rows[0].prompt)
    assert first["chosen"] == assistant(rows[0].chosen)
    assert first["rejected"] == assistant(rows[0].rejected)
    assert (first["reason"], first["cycle"], first["step"]) == ("redo", 2, 0)
    assert (first["row"], first["session"], first["teacher"]) == (rows[0].uid, "session", "teacher")
    assert first["chosen_logprobs"] == [{"token": rows[0].chosen.encode(), "logprob": -0.5, "top": []}]
    assert first["chosen_logprobs_by"] == "teacher"
    assert first["rejected_logprobs"] is first["rejected_logprobs_by"] is None
    assert second["rejected"] is second["reason"] is second["chosen_logprobs"] is None


def test_soft_labels_come_back_from_parquet_as_they_were(rows: list[Row], tmp_path: Path) -> None:
    scores = [
        TokenScore(b"\xe2\x82", -0.25, ((b"\xe2\x82", -0.25), (b"a", -2.0))),
        TokenScore(b"\xac", -8.0, ()),
    ]
    labelled = evolve(rows[1], chosen="€", chosen_soft_labels=softlabels.encode(scores))
    # More rows than are held in memory at once.
    export_parquet([labelled] * 300, tmp_path / "rows.parquet")
    read_back = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert len(read_back) == 300
    found = [
        TokenScore(one["token"], one["logprob"], tuple((top["token"], top["logprob"]) for top in one["top"]))
        for one in read_back[-1]["chosen_logprobs"]
    ]
    assert found == scores


def test_a_credential_takes_the_soft_labels_that_spell_it_along(rows: list[Row], tmp_path: Path) -> None:
    key = "AK" + "IA" + "ABCDEFGHIJKLMN23"
    scores = softlabels.encode([TokenScore(key.encode(), -0.5, ())])
    leaking = evolve(rows[0], chosen=key, chosen_soft_labels=scores, chosen_labels_by="teacher")
    assert export_parquet([leaking], tmp_path / "rows.parquet").redacted == 1
    [line] = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert line["chosen_logprobs"] is line["chosen_logprobs_by"] is None
    assert key.encode() not in (tmp_path / "rows.parquet").read_bytes()


def test_without_pyarrow_one_sentence_says_what_to_do(
    rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParquetUnavailableError, match=r"pip install 'precision-shaking\[parquet\]'"):
        export_parquet(rows, tmp_path / "rows.parquet")
    assert list(tmp_path.glob("*.parquet")) == []


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
