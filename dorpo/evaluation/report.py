"""An evaluation as JSON, and as a table in Markdown with a column for each student."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dorpo.evaluation.run import Evaluation

if TYPE_CHECKING:
    from dorpo.evaluation.candidates import Candidate

NOTHING = "-"


def to_json(evaluation: Any) -> str:
    """An attrs object as indented JSON, with null for what is no finite number."""
    return json.dumps(_finite(attrs.asdict(evaluation)), indent=2, allow_nan=False) + "\n"


def to_markdown(evaluation: Evaluation) -> str:
    """The report that a person reads."""
    adapter = f" with the adapter `{evaluation.adapter}`" if evaluation.adapter else ""
    prompts = evaluation.candidates[0].figures.prompts
    head = [
        "# Evaluation",
        f"Student `{evaluation.student}`{adapter}, on {prompts} prompts ({evaluation.on}) of "
        f"`{evaluation.dataset}`.",
    ]
    rows = [
        [name, *map(show, evaluation.candidates)]
        for name, show in _LINES.items()
        if any(show(candidate) != NOTHING for candidate in evaluation.candidates)
    ]
    names = ["", *(candidate.name for candidate in evaluation.candidates)]
    notes = [f"- {note}" for note in evaluation.notes]
    return "\n\n".join([*head, table(names, rows), *(["\n".join(notes)] if notes else [])]) + "\n"


def write(evaluation: Evaluation, folder: Path) -> None:
    """Write `evaluation.json` and `evaluation.md`."""
    (folder / "evaluation.json").write_text(to_json(evaluation), encoding="utf-8")
    (folder / "evaluation.md").write_text(to_markdown(evaluation), encoding="utf-8")


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns also line up as plain text."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    rule = ["-" * max(width, 3) for width in widths]
    widths = [max(width, 3) for width in widths]
    return "\n".join(
        "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [names, rule, *rows]
    )


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def _interval(candidate: Candidate) -> str:
    interval = candidate.figures.pair_interval
    return NOTHING if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _passed(candidate: Candidate) -> str:
    rate = candidate.execution
    return NOTHING if rate is None else f"{number(rate.rate)} ({rate.passed} of {rate.answers})"


def _outcomes(candidate: Candidate) -> str:
    outcomes = candidate.execution.outcomes if candidate.execution else {}
    return ", ".join(f"{count} {name}" for name, count in outcomes.items()) or NOTHING


def _length(candidate: Candidate) -> str:
    rate = candidate.execution
    return NOTHING if rate is None else f"{rate.mean_tokens:.0f}, {rate.ended} of {rate.answers} ended"


_LINES: dict[str, Callable[[Candidate], str]] = {
    "pair accuracy": lambda candidate: number(candidate.figures.pair_accuracy),
    "95 % interval": _interval,
    "chosen perplexity": lambda candidate: number(candidate.figures.chosen_perplexity),
    "KL, nats/token": lambda candidate: number(candidate.figures.kl),
    "KL, cycle 1": lambda candidate: number(candidate.figures.kl_first_cycle),
    "KL, later cycles": lambda candidate: number(candidate.figures.kl_later_cycles),
    "top-1 as teacher": lambda candidate: number(candidate.figures.teacher_agreement),
    "amplification": lambda candidate: number(candidate.figures.amplification, 2),
    "pass rate": _passed,
    "outcomes": _outcomes,
    "answer tokens": _length,
}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
