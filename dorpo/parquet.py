"""The dataset as a parquet file: TRL's preference columns, where each row is from, its soft labels and whose.

It is the one export with the teacher's log-probabilities, for programs that distil too.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from dorpo import softlabels
from dorpo.export import Exported, trl_line, whole_file, without_credentials
from dorpo.store import Row

T = TypeVar("T")

# Rows that are in memory at once.
_ROWS = 256


class ParquetUnavailableError(Exception):
    """The library that writes parquet is not installed; the message says what to do, in one sentence."""


def export_parquet(rows: Iterable[Row], output: Path) -> Exported:
    """Write rows with all that is known of them; the file as in `dorpo.export.export`, credentials too.

    A response that held a credential loses its soft labels, which spell the text.

    Args:
        rows: Complete rows.
        output: The file to make or replace.

    Raises:
        ParquetUnavailableError: pyarrow is missing.
        OSError: The file cannot be written.
    """
    arrow = _library("pyarrow")
    schema = _schema(arrow)
    written = redacted = 0
    with whole_file(output) as file, _library("pyarrow.parquet").ParquetWriter(file, schema) as writer:
        for part in _parts(map(without_credentials, rows), _ROWS):
            columns = [_columns(row) for row, _ in part]
            writer.write_table(arrow.Table.from_pylist(columns, schema=schema))
            written += len(part)
            redacted += sum(found for _, found in part)
    return Exported(written, 0, redacted)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ParquetUnavailableError(
            "Parquet needs pyarrow, which is not installed: run pip install 'precision-shaking[parquet]', "
            "or export with --format trl."
        ) from error


def _schema(arrow: Any) -> Any:
    messages = arrow.list_(arrow.struct([("role", arrow.string()), ("content", arrow.string())]))
    entry = [("token", arrow.binary()), ("logprob", arrow.float32())]
    labels = arrow.list_(arrow.struct([*entry, ("top", arrow.list_(arrow.struct(entry)))]))
    return arrow.schema(
        [
            ("prompt", messages),
            ("chosen", messages),
            ("rejected", messages),
            ("reason", arrow.string()),
            ("teacher", arrow.string()),
            ("session", arrow.string()),
            ("step", arrow.int32()),
            ("cycle", arrow.int32()),
            ("row", arrow.string()),
            ("chosen_logprobs", labels),
            ("rejected_logprobs", labels),
            ("chosen_logprobs_by", arrow.string()),
            ("rejected_logprobs_by", arrow.string()),
        ]
    )


def _columns(row: Row) -> dict[str, Any]:
    return {
        **trl_line(row),
        "reason": row.reason,
        "teacher": row.teacher,
        "session": row.session,
        "step": row.step,
        "cycle": row.cycle,
        "row": row.uid,
        "chosen_logprobs": _labels(row.chosen_soft_labels),
        "rejected_logprobs": _labels(row.rejected_soft_labels),
        "chosen_logprobs_by": row.chosen_labels_by,
        "rejected_logprobs_by": row.rejected_labels_by,
    }


def _labels(encoded: bytes | None) -> list[dict[str, Any]] | None:
    if encoded is None:
        return None
    return [
        {
            "token": score.token,
            "logprob": score.logprob,
            "top": [{"token": token, "logprob": logprob} for token, logprob in score.top],
        }
        for score in softlabels.decode(encoded)
    ]


def _parts(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while part := list(islice(items, size)):
        yield part
