"""The dataset in the formats of others: JSON lines of TRL (preference, prompt-completion) and OpenAI.

Sources: https://huggingface.co/docs/trl/dataset_formats and
https://platform.openai.com/docs/guides/direct-preference-optimization
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from attrs import evolve, frozen

from dorpo.redaction import redact
from dorpo.rendering import to_messages
from dorpo.store import AgentCall, Row


@frozen
class Exported:
    """What an export did.

    Attributes:
        written: Rows in the file.
        skipped: Rows the format has no place for.
        redacted: Credentials taken out of the texts.
    """

    written: int
    skipped: int
    redacted: int


def export(rows: Iterable[Row], output: Path, line_format: str) -> Exported:
    """Write rows as JSON lines; the file appears whole or not at all, readable by its owner only.

    Credentials in the texts are replaced, see `dorpo.redaction`.

    Args:
        rows: Complete rows.
        output: The file to make or replace.
        line_format: One of `FORMATS`.

    Raises:
        OSError: The file cannot be written.
    """
    line_of = FORMATS[line_format]
    cleaned = map(without_credentials, rows)
    return write_lines(((line_of(row), found) for row, found in cleaned), output)


def export_calls(calls: Iterable[AgentCall], output: Path) -> Exported:
    """Write an agent's calls as TRL's prompt-completion JSON lines, each with what came of it; as `export`.

    Args:
        calls: Of one agent.
        output: The file to make or replace.

    Raises:
        OSError: The file cannot be written.
    """
    return write_lines(map(_call_line, calls), output)


def write_lines(lines: Iterable[tuple[dict[str, Any] | None, int]], output: Path) -> Exported:
    """Write lines and count them; the file appears whole or not at all, readable by its owner only.

    Args:
        lines: Each with the credentials that were taken out of it; None where the format has no place for it.
        output: The file to make or replace.
    """
    written = skipped = redacted = 0
    with whole_file(output) as file:
        for line, found in lines:
            if line is None:
                skipped += 1
                continue
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            written += 1
            redacted += found
    return Exported(written, skipped, redacted)


@contextmanager
def whole_file(output: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `output` when this ends without an error."""
    descriptor, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(output)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _call_line(call: AgentCall) -> tuple[dict[str, Any], int]:
    contents = [redact(message["content"]) for message in call.request]
    prompt = [
        {"role": message["role"], "content": text}
        for message, (text, _) in zip(call.request, contents, strict=True)
    ]
    response, in_response = redact(call.response)
    line = {
        "prompt": prompt,
        "completion": _answer(response),
        "outcome": call.outcome,
        "agent": call.agent,
        "teacher": call.teacher,
        "session": call.session,
        "step": call.step,
        "cycle": call.cycle,
    }
    return line, in_response + sum(found for _, found in contents)


def without_credentials(row: Row) -> tuple[Row, int]:
    """The row and how many credentials were taken out; with them go the soft labels, which spell the text."""
    prompt, in_prompt = redact(row.prompt)
    chosen, in_chosen = redact(row.chosen)
    rejected, in_rejected = (None, 0) if row.rejected is None else redact(row.rejected)
    clean = evolve(
        row,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        chosen_soft_labels=None if in_chosen else row.chosen_soft_labels,
        rejected_soft_labels=None if in_rejected else row.rejected_soft_labels,
        chosen_labels_by=None if in_chosen else row.chosen_labels_by,
        rejected_labels_by=None if in_rejected else row.rejected_labels_by,
    )
    return clean, in_prompt + in_chosen + in_rejected


def trl_line(row: Row) -> dict[str, Any]:
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


FORMATS: Mapping[str, Callable[[Row], dict[str, Any] | None]] = {"trl": trl_line, "openai": _openai}
