"""One evaluation: which students are compared, on which rows, and what there is to know about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from dorpo.counting import counted
from dorpo.evaluation.measured_rows import TRAINED_ON, MeasuredRows
from dorpo.evaluation.origin import Origin, read_origin
from dorpo.evaluation.pass_rate import find_command, run_with
from dorpo.training.cancellation import Cancellation, TrainingCancelledError
from dorpo.training.events import TrainingEvent
from dorpo.training.request import (
    Snapshot,
    TrainingRefusedError,
    TrainingRequest,
    prepare_output,
    read_rows,
)

if TYPE_CHECKING:
    from dorpo.evaluation.candidates import Answering, Bench, Candidate

BASE, ADAPTER, FULL = "base", "adapter", "trained"
_FEW_PROMPTS = 10
# The objective's special cases, by what they change of it.
BASELINES: dict[str, dict[str, float]] = {
    "sft": {"beta": 0.0, "kd_alpha": 0.0},
    "orpo": {"kd_alpha": 0.0},
    "kl": {"beta": 0.0, "kd_alpha": 1.0},
}


@frozen(kw_only=True)
class EvaluationRequest:
    """Everything the user can choose.

    Attributes:
        training: The dataset, the student and its device; with baselines also how these are trained.
        given: Names of the fields of `training` that the user chose: a training's own settings fill the rest.
        trained: Folder of the training to measure beside the bare student.
        baselines: Names of `BASELINES` to train and to measure.
        answer: Whether the students answer prompts themselves.
        execute: Whether these answers are run too.
        prompts: How many prompts are answered at most.
        most_tokens: Where an answer is cut off.
    """

    training: TrainingRequest
    given: frozenset[str] = frozenset()
    trained: Path | None = None
    baselines: Sequence[str] = ()
    answer: bool = False
    execute: bool = False
    prompts: int = 50
    most_tokens: int = 1024


@frozen(kw_only=True)
class Evaluation:
    """The result.

    Attributes:
        student: As named by the user.
        adapter: Folder of what was trained, if there is one.
        full: Whether that is a whole student.
        dataset: The file.
        dataset_sha256: Of its rows.
        on: Which rows were measured, see `dorpo.evaluation.measured_rows`.
        candidates: The bare student first.
        notes: Sentences on how far the figures can be trusted.
    """

    student: str
    adapter: str | None
    full: bool
    dataset: str
    dataset_sha256: str
    on: str
    candidates: Sequence[Candidate]
    notes: Sequence[str] = field(factory=tuple)


def evaluate_as_asked(
    request: EvaluationRequest, report: Callable[[TrainingEvent | str], None], cancellation: Cancellation
) -> Evaluation:
    """Measure the bare student, what was trained and the baselines, one after the other.

    Args:
        request: What is asked for.
        report: Gets what begins, as a sentence, and the events of the baselines' trainings.
        cancellation: The user's wish to stop.

    Raises:
        TrainingRefusedError: It cannot be done as asked.
        TrainingCancelledError: The wish to stop came; there is nothing to keep but trained baselines.
    """
    answering = _answering(request)
    origin = None if request.trained is None else read_origin(request.trained)
    training = _like(request, origin)
    data = read_rows(training)
    _check_baselines(request, origin, data.fingerprint)
    # Loads torch, which takes seconds: only after everything that can be refused at once.
    from dorpo.evaluation.candidates import set_up

    with cancellation.interruptible():
        bench = set_up(data.rows, training, origin, answering)
        report(f"Measuring {BASE} on {counted(len(bench.rows.groups), 'prompt')} ({bench.rows.on}).")
        candidates = [bench.measure(BASE)]
        if request.trained is not None:
            name = FULL if training.full else ADAPTER
            report(f"Measuring {name}.")
            candidates.append(bench.measure(name, request.trained, candidates[0]))
    for name in request.baselines:
        report(f"Training {name}.")
        candidates.append(_baseline(name, bench, candidates[0], data, report, cancellation))
    return Evaluation(
        student=training.student,
        adapter=None if request.trained is None else str(request.trained.absolute()),
        full=training.full,
        dataset=str(training.db.absolute()),
        dataset_sha256=data.fingerprint,
        on=bench.rows.on,
        candidates=candidates,
        notes=_notes(request, origin, data.fingerprint, candidates, bench.rows),
    )


def _answering(request: EvaluationRequest) -> Answering | None:
    if not request.answer and not request.execute:
        return None
    run = run_with(find_command()) if request.execute else None
    from dorpo.evaluation.candidates import Answering

    return Answering(prompts=request.prompts, most_tokens=request.most_tokens, run=run)


def _like(request: EvaluationRequest, origin: Origin | None) -> TrainingRequest:
    """The training as it was, as far as it is known and the user wants nothing else."""
    if origin is None:
        return request.training
    clashing = sorted(request.given - {"student"})
    if origin.held_out is not None and clashing:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in clashing)
        raise TrainingRefusedError(
            f"The folder {request.trained} itself says how it was trained and what was held out: "
            f"leave {options} out."
        )
    known: dict[str, Any] = {"student": origin.student, "max_steps": origin.steps, **origin.settings}
    known["full"] = origin.full
    fields = {name: value for name, value in known.items() if value is not None and name not in request.given}
    try:
        return evolve(request.training, **fields)
    except TypeError as error:
        raise TrainingRefusedError(
            f"What is in {request.trained} was trained by another version of dorpo: train it again."
        ) from error


def _check_baselines(request: EvaluationRequest, origin: Origin | None, fingerprint: str) -> None:
    if not request.baselines:
        return
    if origin is not None and origin.fingerprint != fingerprint:
        raise TrainingRefusedError(
            "The dataset has changed since the training, so baselines would learn from other "
            "rows: train it again, or compare it with base alone."
        )
    for name in request.baselines:
        prepare_output(request.training.output / name)


def _baseline(
    name: str,
    bench: Bench,
    base: Candidate,
    data: Snapshot,
    report: Callable[[TrainingEvent | str], None],
    cancellation: Cancellation,
) -> Candidate:
    from dorpo.training.run import Training

    asked = evolve(bench.request, output=bench.request.output / name, **BASELINES[name])  # type: ignore[arg-type]
    if Training(asked, data, report, cancellation).run() == "cancelled":
        raise TrainingCancelledError
    with cancellation.interruptible():
        return bench.measure(name, asked.output, base)


def _notes(
    request: EvaluationRequest,
    origin: Origin | None,
    fingerprint: str,
    candidates: Sequence[Candidate],
    rows: MeasuredRows,
) -> list[str]:
    figures = candidates[0].figures
    ran = [candidate.execution for candidate in candidates if candidate.execution]
    denied = sum(rate.outcomes.get("sandbox_denied", 0) for rate in ran)
    backends = sorted({backend for rate in ran for backend in rate.backends})
    found = {
        "These rows were trained on, so the figures flatter what was trained: sessions are held out once "
        "there are ten.": rows.on == TRAINED_ON and len(candidates) > 1,
        **dict.fromkeys(rows.notes(origin, fingerprint), True),
        f"It was trained from {origin.student if origin else None}.": (
            origin is not None
            and origin.student not in (None, request.training.student)
            and "student" in request.given
        ),
        f"Fewer than {_FEW_PROMPTS} prompts were measured: the figures show that it works, no more.": (
            figures.prompts < _FEW_PROMPTS
        ),
        "No row has a rejected response, so there is no pair accuracy.": not figures.pairs,
        "No row has soft labels, so there is no KL.": figures.kl is None,
        f"Scripts were run behind: {', '.join(backends)}.": bool(backends),
        f"{denied} scripts asked for what the sandbox has not and count neither way.": bool(denied),
    }
    return [sentence for sentence, holds in found.items() if holds]
