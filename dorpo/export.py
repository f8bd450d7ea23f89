"""The dataset in the formats of others: TRL's conversational preference and OpenAI's preference JSON lines.

Sources: https://huggingface.co/docs/trl/dataset_formats and
https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from dorpo.rendering import to_messages
from dorpo.store import Row


@frozen
class Exported:
    """How many rows were written, and how many the format has no place for."""

    written: int
    skipped: int


def export(rows: Iterable[Row], output: Path, line_format: str) -> Exported:
    """Write rows as JSON lines; the file appears whole or not at all, readable by its owner only.

    Args:
        rows: Complete rows.
        output: The file to make or replace.
        line_format: One of `FORMATS`.

    Raises:
        OSError: The file cannot be written.
    """
    line_of = FORMATS[line_format]
    written = skipped = 0
    descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                line = line_of(row)
                if line is None:
                    skipped += 1
                    continue
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(output)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return Exported(written, skipped)


def _trl(row: Row) -> dict[str, Any]:
    """A row without a rejected response has null there: DORPO and supervised training still learn from it."""
    return {
        "prompt": to_messages(row.prompt),
        "chosen": _answer(row.chosen),
        "rejected": None if row.rejected is None else _answer(row.rejected),
    }


def _openai(row: Row) -> dict[str, Any] | None:
    if row.rejected is None:
        return None
    return {
        "input": {"messages": to_messages(row.prompt)},
        "preferred_output": _answer(row.chosen),
        "non_preferred_output": _answer(row.rejected),
    }


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


FORMATS: Mapping[str, Callable[[Row], dict[str, Any] | None]] = {"trl": _trl, "openai": _openai}
