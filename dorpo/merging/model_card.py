"""The README of a student to take along: what it is, what it learnt from, and under which terms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

# Licences that we know for certain, by the name of a student or a teacher.
_LICENCES = {"smollm2": "Apache-2.0", "embedded/smollm2": "Apache-2.0"}
_UNKNOWN = "see the provider's terms"
_NAMES = {"kl": "KL to the teacher, nats per token"}
_MADE = {
    False: "The adapter is merged into the weights",
    True: "Every weight was trained; the folder was written and loaded again",
}


@frozen
class Card:
    """What the README tells.

    Attributes:
        name: Of the merged model.
        student: What it was made from, as the user named it.
        metrics: The training's `metrics.json`; empty when there is none.
        difference: Largest difference of a logit between what was trained and this model.
        end_of_turn: The text of the token that ends an answer.
        gguf: Name of the GGUF file beside it; None without one.
        full: Whether every weight was trained.
    """

    name: str
    student: str
    metrics: Mapping[str, Any]
    difference: float
    end_of_turn: str
    gguf: str | None = None
    full: bool = False


def write_card(card: Card) -> str:
    """The README as Markdown with the hub's metadata at its head."""
    student = _public(card.student)
    data = _without_folders(_mapping(card.metrics.get("data")))
    teachers = _mapping(data.get("by_teacher"))
    models = {**dict.fromkeys(teachers, "a teacher")}
    for model in _mapping(data.get("by_labeller")):
        models.setdefault(model, "gave soft labels")
    licences = {_licence(card.student), *map(_licence, models)}
    # Without counts it is unknown who taught it.
    known = licences == {"Apache-2.0"} and bool(teachers)
    sections = [
        f"---\nlicense: {'apache-2.0' if known else 'other'}\nlibrary_name: transformers\n"
        "pipeline_tag: text-generation\ntags: [code, distillation, dorpo]\n---",
        f"# {card.name}",
        f"{student}, trained with DORPO (Distillation-Oriented Odds Ratio Preference Optimization) on rows "
        "that were harvested with Precision Shaking: it changes a script as an instruction says. "
        f"{_MADE[card.full]}; no logit moved by more than {card.difference:.1e}.",
        "## Data\n\n" + _data(data),
        "## Licences\n\n" + _licences(card.student, student, models),
        "## Training\n\n" + _table(_mapping(card.metrics.get("settings")), ("setting", "value")),
        "## Metrics\n\n" + _metrics(card.metrics),
        "## Use\n\n" + _use(card),
    ]
    return "\n\n".join(sections) + "\n"


def _without_folders(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The data with teachers' names that anybody may read."""
    counts = {
        name: {_public(model): rows for model, rows in models.items()}
        for name, models in data.items()
        if name in ("by_teacher", "by_labeller") and isinstance(models, Mapping)
    }
    return {**data, **counts}


def _data(data: Mapping[str, Any]) -> str:
    if not data:
        return "The training did not write down what its rows were."
    reasons = _table(_mapping(data.get("by_reason")), ("rejected because of", "rows"))
    teachers = _table(_mapping(data.get("by_teacher")), ("chosen response by", "rows"))
    labellers = _mapping(data.get("by_labeller"))
    parts = [f"{data.get('rows')} rows.", reasons, teachers]
    return "\n\n".join([*parts, *([_table(labellers, ("soft labels by", "rows"))] if labellers else [])])


def _licences(student: str, shown: str, models: Mapping[str, str]) -> str:
    lines = [f"* {shown} (the student): {_licence(student)}"]
    lines += [f"* {model} ({part}): {_licence(model)}" for model, part in models.items()]
    return "\n".join(lines)


def _metrics(metrics: Mapping[str, Any]) -> str:
    before, after = _mapping(metrics.get("before")), _mapping(metrics.get("after"))
    if not after:
        return "The training was not evaluated."
    rows = {name: f"{_figure(before.get(name))} | {_figure(value)}" for name, value in after.items()}
    shown = {_NAMES.get(name, name.replace("_", " ")): row for name, row in rows.items()}
    on = "held-out sessions" if metrics.get("held_out_sessions") else "the training rows"
    steps = (
        f"{metrics.get('last_step')} steps, {metrics.get('seconds')} seconds, status {metrics.get('status')}"
    )
    return f"{steps}; evaluated on {on}.\n\n" + _table(shown, ("", "before", "after"))


def _use(card: Card) -> str:
    lines = [
        f"An answer ends with `{card.end_of_turn}`, which is the tokenizer's and the generation config's end "
        "of sequence. The chat template is that of the student.",
        "Train it further: `python -m dorpo train --student FOLDER --output DIR`, with this folder.",
    ]
    if card.gguf:
        lines.append(f"As a teacher: `embedded/` and the absolute path of `{card.gguf}`.")
    return "\n\n".join(lines)


def _table(values: Mapping[str, Any], head: tuple[str, ...]) -> str:
    if not values:
        return "Not written down."
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += [f"| {_cell(name)} | {_figure(value)} |" for name, value in values.items()]
    return "\n".join(lines)


def _cell(name: str) -> str:
    return str(name).replace("|", "\\|").replace("\n", " ")


def _figure(value: Any) -> str:
    if value is None:
        return "–"  # noqa: RUF001 - a dash for nothing
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _licence(name: str) -> str:
    return _LICENCES.get(name, _UNKNOWN)


def _public(student: str) -> str:
    """A folder's or file's last name: where it lies on somebody's machine is nobody's business."""
    provider, _, file = student.partition("/")
    if provider == "embedded" and file.endswith(".gguf"):
        return f"embedded/{Path(file).name}"
    local = Path(student).is_absolute() or student.startswith((".", "~")) or Path(student).exists()
    return Path(student).name if local else student


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
