"""Evaluations and sweeps as pictures: functions that draw, and one that writes a file.

A picture has a panel for everything that is defined on the rows. Nothing of pyplot is used, which keeps a
state for the whole process and may look for a screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dorpo.evaluation.sweep import Sweep

if TYPE_CHECKING:
    from dorpo.evaluation.candidates import Candidate

# Told apart by colour-blind readers too (Okabe and Ito).
_COLOURS = ("#999999", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_COLUMNS, _PANEL, _HEIGHT, _DPI = 3, 4.2, 3.4, 110
_CHANCE = 0.5

_Draw = Callable[[Axes], None]


def evaluation_figure(candidates: Sequence[Candidate]) -> Figure:
    """Pair accuracy as a whole and by reason, with intervals; KL to the teacher; perplexity; own answers."""
    panels: list[_Draw] = []
    if any(candidate.figures.pairs for candidate in candidates):
        panels += [partial(draw, candidates=candidates) for draw in (_pair_accuracy, _by_reason)]
    distances = {
        candidate.name: candidate.figures.kl for candidate in candidates if candidate.figures.kl is not None
    }
    if distances:
        panels.append(partial(_bars, title="KL to the teacher, nats/token", values=distances))
    perplexity = {candidate.name: candidate.figures.chosen_perplexity for candidate in candidates}
    panels.append(partial(_bars, title="perplexity of chosen responses", values=perplexity))
    lengths = {candidate.name: candidate.lengths for candidate in candidates if candidate.lengths}
    if lengths:
        means = {name: length.mean_tokens for name, length in lengths.items()}
        panels.append(partial(_bars, title="tokens of an own answer", values=means))
    return _figure(panels)


def sweep_figure(sweep: Sweep) -> Figure:
    """Pair accuracy, KL and perplexity over λ: a dot for each seed, their means, and the bare student."""
    wanted = {
        "pair accuracy": "pair_accuracy",
        "KL to the teacher, nats/token": "kl",
        "perplexity of chosen responses": "chosen_perplexity",
    }
    panels: list[_Draw] = [
        partial(_over_betas, title=title, name=name, sweep=sweep)
        for title, name in wanted.items()
        if getattr(sweep.base, name) is not None
    ]
    return _figure(panels)


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all: whoever reads it meanwhile finds the last one."""
    fresh = path.with_name(f".{path.stem}.new{path.suffix}")
    figure.savefig(fresh, dpi=_DPI)
    fresh.replace(path)


def _figure(panels: Sequence[_Draw]) -> Figure:
    """The panels in rows, and one legend below for what they share."""
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(_PANEL * columns, _HEIGHT * rows), layout="constrained")
    for place, draw in enumerate(panels, 1):
        axes = figure.add_subplot(rows, columns, place)
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
    named: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    if named:
        figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=6, frameon=False)
    return figure


def _pair_accuracy(axes: Axes, candidates: Sequence[Candidate]) -> None:
    axes.set_title("pair accuracy, 95 % interval")
    for place, candidate in enumerate(candidates):
        _dot(axes, place, candidate.figures.pair_accuracy, candidate.figures.pair_interval, place)
    axes.set_xticks(range(len(candidates)), [candidate.name for candidate in candidates])
    _share_of_pairs(axes, len(candidates))


def _by_reason(axes: Axes, candidates: Sequence[Candidate]) -> None:
    """Reasons side by side, in each a dot for every candidate."""
    axes.set_title("pair accuracy by reason")
    reasons = candidates[0].figures.by_reason
    width = 0.6 / len(candidates)
    for number, candidate in enumerate(candidates):
        shift = (number - (len(candidates) - 1) / 2) * width
        for place, part in enumerate(candidate.figures.by_reason.values()):
            label = candidate.name if place == 0 else None
            _dot(axes, place + shift, part.share, part.interval, number, label)
    names = [f"{reason.replace('_', ' ')}\n{part.pairs} pairs" for reason, part in reasons.items()]
    axes.set_xticks(range(len(reasons)), names)
    _share_of_pairs(axes, len(reasons))


def _dot(
    axes: Axes,
    at: float,
    value: float | None,
    interval: tuple[float, float] | None,
    number: int,
    label: str | None = None,
) -> None:
    if value is None or interval is None:
        return
    # A percentile interval need not hold its own value where few prompts are drawn.
    away = [[max(value - interval[0], 0.0)], [max(interval[1] - value, 0.0)]]
    axes.errorbar([at], [value], yerr=away, fmt="o", capsize=4, color=_colour(number), label=label)


def _share_of_pairs(axes: Axes, places: int) -> None:
    axes.axhline(_CHANCE, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(-0.6, places - 0.4)


def _bars(axes: Axes, title: str, values: dict[str, float]) -> None:
    axes.set_title(title)
    bars = axes.bar(list(values), list(values.values()), color=[_colour(n) for n in range(len(values))])
    axes.bar_label(bars, fmt="%.3g")
    axes.margins(y=0.12)


def _over_betas(axes: Axes, title: str, name: str, sweep: Sweep) -> None:
    axes.set_title(title)
    betas = sorted({run.beta for run in sweep.runs})
    places = {beta: place for place, beta in enumerate(betas)}
    dots = [(places[run.beta], getattr(run.figures, name)) for run in sweep.runs]
    axes.plot([x for x, _ in dots], [y for _, y in dots], "o", color=_colour(1), alpha=0.5, label="a seed")
    means = [spread.mean for beta in betas if (spread := sweep.spread(beta, name)) is not None]
    axes.plot(range(len(means)), means, "-", color=_colour(1), label="mean")
    axes.axhline(getattr(sweep.base, name), color=_colour(0), linestyle="--", label="before")
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_xlabel("λ")


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
