"""How a training's events reach the user: as JSON lines for a program, or as a progress bar for a person."""

from __future__ import annotations

import json
import math
from typing import Any, TextIO

from attrs import define, field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from dorpo import sizes
from dorpo.counting import counted
from dorpo.durations import in_words
from dorpo.training.events import (
    TrainingEvaluated,
    TrainingEvent,
    TrainingFailed,
    TrainingFinished,
    TrainingProgress,
    TrainingStarted,
    to_json,
)

_FEW_ROWS = 20
# Of progress, where there is no terminal to redraw a bar on.
_MOST_LINES = 20


@define(eq=False)
class JsonLines:
    """One JSON object a line, each written out at once."""

    stream: TextIO

    def __call__(self, event: TrainingEvent) -> None:
        """Write one event."""
        self.stream.write(json.dumps(_finite(to_json(event)), allow_nan=False) + "\n")
        self.stream.flush()


@define(eq=False)
class Bar:
    """A bar on standard error, or lines where that is no terminal; the result in one line on standard output.

    Attributes:
        console: Standard error.
        result: Standard output.
    """

    console: Console
    result: Console
    _progress: Progress = field(init=False)
    _task: TaskID | None = field(default=None, init=False)
    _before: TrainingEvaluated | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._progress = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            transient=True,
        )

    def __call__(self, event: TrainingEvent) -> None:
        """Show one event."""
        match event:
            case TrainingStarted():
                self._start(event)
            case TrainingProgress():
                self._advance(event)
            case TrainingEvaluated(when="before"):
                self._before = event
                self._say(f"Before: {_figures(event)}, on the {event.on}.")
            case TrainingEvaluated():
                self.close()
                if self._before is not None:
                    self.result.print(compare(self._before, event), highlight=False, soft_wrap=True)
            case TrainingFinished():
                self.close()
                done = "Saved" if event.status == "done" else "Cancelled; what was learned so far is saved"
                self._say(f"{done} in {event.output} after {in_words(event.seconds)}.")
            case TrainingFailed():
                self.close()
                self._say(event.message)

    def close(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._progress.stop()

    def _start(self, event: TrainingStarted) -> None:
        self.console.print(_table(event))
        rows = f"{counted(event.rows, 'row')} with {counted(event.prompts, 'prompt')}"
        self._say(
            f"Training {event.student} on {event.device}: {rows}, {event.tokens:,} tokens, "
            f"{counted(event.steps, 'step')}, about {in_words(event.estimate_seconds)} and "
            f"{sizes.in_words(event.estimate_bytes)} of memory."
        )
        if event.advice:
            self._say(event.advice)
        if event.rows < _FEW_ROWS:
            self._say(
                "So few rows are mostly learned by heart: the figures show that training works, no more."
            )
        if self.console.is_terminal:
            self._progress.start()
            self._task = self._progress.add_task("evaluating", total=event.steps)

    def _advance(self, event: TrainingProgress) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=event.step, description=_describe(event))
        elif event.step % math.ceil(event.steps / _MOST_LINES) == 0:
            self._say(f"Step {event.step} of {event.steps}: {_describe(event)}.")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _table(event: TrainingStarted) -> Table:
    """What became of the dataset's rows."""
    table = Table(box=None, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    left_out = [(f"  left out: {flaw}", count) for flaw, count in event.dropped.items()]
    held_out = [("  kept for the evaluation", event.held_out_rows)] if event.held_out_rows else []
    for name, count in [("complete rows", event.found), *left_out, *held_out, ("to learn from", event.rows)]:
        table.add_row(name, f"{count:,}")
    return table


def compare(before: TrainingEvaluated, after: TrainingEvaluated) -> str:
    """The two evaluations in one line."""
    parts = []
    if before.pair_accuracy is not None and after.pair_accuracy is not None:
        parts.append(f"pair accuracy {before.pair_accuracy:.2f} → {after.pair_accuracy:.2f}")
    parts.append(f"chosen perplexity {before.chosen_perplexity:.2f} → {after.chosen_perplexity:.2f}")
    if before.kl is not None and after.kl is not None:
        parts.append(f"KL {before.kl:.3f} → {after.kl:.3f} nats/token")
    return " · ".join(parts)


def _figures(event: TrainingEvaluated) -> str:
    pairs = "" if event.pair_accuracy is None else f"pair accuracy {event.pair_accuracy:.2f}, "
    distance = "" if event.kl is None else f", KL {event.kl:.3f} nats/token"
    return f"{pairs}chosen perplexity {event.chosen_perplexity:.2f}{distance}"


def _describe(event: TrainingProgress) -> str:
    odds = "" if event.or_loss is None else f", odds ratio {event.or_loss:.3f}"
    distance = "" if event.kl is None else f", KL {event.kl:.3f} nats/token"
    return f"loss {event.loss:.3f}{distance}{odds}, {in_words(event.eta_seconds)} left"


def _finite(value: Any) -> Any:
    """JSON has no infinity: a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
