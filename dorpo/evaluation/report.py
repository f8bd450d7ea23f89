"""An evaluation as JSON, as Markdown with a column for each student, and as a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from dorpo.counting import counted
from dorpo.evaluation.run import Evaluation

if TYPE_CHECKING:
    from dorpo.evaluation.candidates import Candidate

NOTHING = "-"
_JSON, _MARKDOWN, _PICTURE = "evaluation.json", "evaluation.md", "evaluation.png"
# Of single prompts: what they add up to is enough for a report.
_INNER = "counts"


def to_json(evaluation: Any) -> str:
    """An attrs object as indented JSON, with null for what is no finite number."""
    told = attrs.asdict(evaluation, filter=lambda attribute, _: attribute.name != _INNER)
    return json.dumps(_finite(told), indent=2, allow_nan=False) + "\n"


def to_markdown(evaluation: Evaluation, picture: str | None = None) -> str:
    """The report that a person reads.

    Args:
        evaluation: What was measured.
        picture: A file beside the report that shows it.
    """
    kind = "beside its training" if evaluation.full else "with the adapter"
    trained = f" {kind} `{evaluation.adapter}`" if evaluation.adapter else ""
    prompts = counted(evaluation.candidates[0].figures.prompts, "prompt")
    head = [
        "# Evaluation",
        f"Student `{evaluation.student}`{trained}, on {prompts} ({evaluation.on}) of `{evaluation.dataset}`.",
    ]
    parts = [*head, _table(_LINES, evaluation.candidates)]
    if any(candidate.figures.pairs for candidate in evaluation.candidates):
        reasons = sorted({reason for one in evaluation.candidates for reason in one.figures.by_reason})
        lines = {reason.replace("_", " "): _accuracy_for(reason) for reason in reasons}
        parts += ["## Pair accuracy by reason of rejection", _table(lines, evaluation.candidates)]
    if picture:
        parts.append(f"![Pair accuracy, KL and perplexity of every student]({picture})")
    if evaluation.notes:
        parts.append("\n".join(f"- {note}" for note in evaluation.notes))
    return "\n\n".join(parts) + "\n"


def write(evaluation: Evaluation, folder: Path) -> str:
    """Write `evaluation.json`, `evaluation.md` and `evaluation.png`; returns the Markdown."""
    # Loads matplotlib, which nobody needs who only wants the numbers.
    from dorpo.evaluation.plots import evaluation_figure, save

    save(evaluation_figure(evaluation.candidates), folder / _PICTURE)
    report = to_markdown(evaluation, _PICTURE)
    (folder / _JSON).write_text(to_json(evaluation), encoding="utf-8")
    (folder / _MARKDOWN).write_text(report, encoding="utf-8")
    return report


def _table(lines: Mapping[str, Callable[[Candidate], str]], candidates: Sequence[Candidate]) -> str:
    """A line for everything that some student has, a column for every student."""
    rows = [
        [name, *map(show, candidates)]
        for name, show in lines.items()
        if any(show(candidate) != NOTHING for candidate in candidates)
    ]
    return table(["", *(candidate.name for candidate in candidates)], rows)


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


def _interval(interval: tuple[float, float] | None) -> str:
    return NOTHING if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _more(value: float | None, interval: tuple[float, float] | None) -> str:
    return NOTHING if value is None else f"{value:+.3f} ({_interval(interval)})"


def _accuracy_for(reason: str) -> Callable[[Candidate], str]:
    def show(candidate: Candidate) -> str:
        part = candidate.figures.by_reason.get(reason)
        return (
            NOTHING
            if part is None
            else f"{part.share:.3f} ({_interval(part.interval)}), {counted(part.pairs, 'pair')}"
        )

    return show


def _passed(candidate: Candidate) -> str:
    rate = candidate.execution
    return NOTHING if rate is None else f"{number(rate.rate)} ({rate.passed} of {rate.answers})"


def _outcomes(candidate: Candidate) -> str:
    outcomes = candidate.execution.outcomes if candidate.execution else {}
    return ", ".join(f"{count} {name}" for name, count in outcomes.items()) or NOTHING


def _length(candidate: Candidate) -> str:
    lengths = candidate.lengths
    return NOTHING if lengths is None else f"{lengths.mean_tokens:.0f} (chosen {lengths.chosen_tokens:.0f})"


def _ended(candidate: Candidate) -> str:
    lengths = candidate.lengths
    return NOTHING if lengths is None else f"{lengths.end_rate:.3f} ({lengths.ended} of {lengths.answers})"


_LINES: dict[str, Callable[[Candidate], str]] = {
    "pair accuracy": lambda candidate: number(candidate.figures.pair_accuracy),
    "95 % interval": lambda candidate: _interval(candidate.figures.pair_interval),
    "against base": lambda candidate: (
        _more(candidate.gain.pair_accuracy, candidate.gain.pair_interval) if candidate.gain else NOTHING
    ),
    "chosen perplexity": lambda candidate: number(candidate.figures.chosen_perplexity),
    "KL, nats/token": lambda candidate: number(candidate.figures.kl),
    "KL, against base": lambda candidate: (
        _more(candidate.gain.kl, candidate.gain.kl_interval) if candidate.gain else NOTHING
    ),
    "KL, cycle 1": lambda candidate: number(candidate.figures.kl_first_cycle),
    "KL, later cycles": lambda candidate: number(candidate.figures.kl_later_cycles),
    "top-1 as teacher": lambda candidate: number(candidate.figures.teacher_agreement),
    "ends where chosen does": lambda candidate: number(candidate.figures.ending_probability),
    "amplification": lambda candidate: number(candidate.figures.amplification, 2),
    "pass rate": _passed,
    "outcomes": _outcomes,
    "answer tokens": _length,
    "answers that end": _ended,
}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
