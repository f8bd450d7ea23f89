"""A sweep as JSON, as Markdown with a line for each λ, and as a picture."""

from __future__ import annotations

from pathlib import Path

from dorpo.counting import counted
from dorpo.evaluation.figures import Figures
from dorpo.evaluation.measured_rows import TRAINED_ON
from dorpo.evaluation.report import NOTHING, number, table, to_json
from dorpo.evaluation.sweep import Spread, Sweep

JSON, MARKDOWN, PICTURE = "sweep.json", "sweep.md", "sweep.png"
_COLUMNS = {
    "pair accuracy": "pair_accuracy",
    "chosen perplexity": "chosen_perplexity",
    "KL, nats/token": "kl",
    "amplification": "amplification",
}


def to_markdown(sweep: Sweep) -> str:
    """The report that a person reads."""
    finished = f"{len(sweep.runs)} of {counted(sweep.planned, 'training')} finished"
    prompts = counted(sweep.base.prompts, "prompt")
    parts = [
        "# Sweep of λ",
        f"Student `{sweep.student}`, {finished}, measured on {prompts} ({sweep.on}) of "
        f"`{sweep.dataset}`. Means over seeds, with the least and the most.",
        _table(sweep),
        f"![Pair accuracy, KL and perplexity over λ]({PICTURE})",
    ]
    if sweep.on == TRAINED_ON:
        parts.append(
            "These rows were trained on, so the figures flatter every λ: sessions are held out "
            "once there are ten."
        )
    return "\n\n".join(parts) + "\n"


def write(sweep: Sweep, folder: Path) -> None:
    """Write all three, each whole: whoever reads them meanwhile finds the last state."""
    # Loads matplotlib, which a sweep needs only now.
    from dorpo.evaluation.plots import save, sweep_figure

    save(sweep_figure(sweep), folder / PICTURE)
    for name, text in ((JSON, to_json(sweep)), (MARKDOWN, to_markdown(sweep))):
        fresh = folder / f".{name}.new"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(folder / name)


def _table(sweep: Sweep) -> str:
    rows = [["before", NOTHING, *(_figure(sweep.base, name) for name in _COLUMNS.values())]]
    for beta in sorted({run.beta for run in sweep.runs}):
        seeds = sum(run.beta == beta for run in sweep.runs)
        cells = [_spread(sweep.spread(beta, name)) for name in _COLUMNS.values()]
        rows.append([f"{beta:g}", str(seeds), *cells])
    return table(["λ", "seeds", *_COLUMNS], rows)


def _figure(figures: Figures, name: str) -> str:
    return number(getattr(figures, name))


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    mean = number(spread.mean)
    return mean if spread.low == spread.high else f"{mean} ({number(spread.low)} to {number(spread.high)})"
