"""Trainings that differ in λ and seed alone, each measured on the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from dorpo.evaluation.figures import Figures
from dorpo.training.cancellation import Cancellation, TrainingCancelledError
from dorpo.training.events import TrainingEvent
from dorpo.training.request import Snapshot, TrainingRequest, check_reporter, prepare_output, read_rows

if TYPE_CHECKING:
    from dorpo.evaluation.candidates import Bench


@frozen(kw_only=True)
class SweepRequest:
    """What is tried.

    Attributes:
        training: Everything but λ and seed; its `output` is the sweep's, its `split_seed` every training's.
        betas: The weights λ of the odds-ratio term.
        seeds: Of the data order and the adapters; with each of them every λ is trained once.
    """

    training: TrainingRequest
    betas: Sequence[float]
    seeds: Sequence[int]

    @property
    def runs(self) -> list[TrainingRequest]:
        """The trainings, seed by seed: when it is stopped, whole comparisons are there."""
        return [
            evolve(
                self.training,
                beta=beta,
                seed=seed,
                output=self.training.output / f"beta-{beta:g}-seed-{seed}",
            )
            for seed in self.seeds
            for beta in self.betas
        ]


@frozen(kw_only=True)
class SweepRun:
    """A training of the sweep: its folder, and what it made of the student."""

    beta: float
    seed: int
    adapter: str
    figures: Figures


@frozen(kw_only=True)
class Spread:
    """A figure over seeds: mean, least and most."""

    mean: float
    low: float
    high: float


@frozen(kw_only=True)
class Sweep:
    """What is finished.

    Attributes:
        status: running, done or cancelled.
        student: As named by the user.
        dataset: The file.
        dataset_sha256: Of its rows.
        on: Which rows were measured.
        planned: How many trainings were asked for.
        base: The student before any training.
        runs: Those that are finished, in the order they were trained.
    """

    status: str
    student: str
    dataset: str
    dataset_sha256: str
    on: str
    planned: int
    base: Figures
    runs: Sequence[SweepRun] = field(factory=tuple)

    def spread(self, beta: float, figure: str) -> Spread | None:
        """A figure of the finished trainings with this λ; None when none of them has it."""
        found = [getattr(run.figures, figure) for run in self.runs if run.beta == beta]
        values = [value for value in found if value is not None]
        if not values:
            return None
        return Spread(mean=sum(values) / len(values), low=min(values), high=max(values))


def sweep_as_asked(
    request: SweepRequest,
    report: Callable[[TrainingEvent | str], None],
    keep: Callable[[Sweep], None],
    cancellation: Cancellation,
) -> Sweep:
    """Train and measure, one after the other.

    Args:
        request: What is tried.
        report: Gets what begins, as a sentence, and the events of the trainings.
        keep: Gets the sweep whenever a training is finished, and at the end.
        cancellation: The user's wish to stop: what is finished stays, the training under way does not count.

    Raises:
        TrainingRefusedError: It cannot be done as asked.
        TrainingCancelledError: The wish to stop came before the student itself was measured.
    """
    data = read_rows(request.training)
    check_reporter(request.training.report_to)
    for asked in request.runs:
        prepare_output(asked.output)
    # Loads torch, which takes seconds: only after everything that can be refused at once.
    from dorpo.evaluation.candidates import set_up

    with cancellation.interruptible():
        bench = set_up(data.rows, request.training, None)
        base = bench.measure("base").figures
    sweep = Sweep(
        status="running",
        student=request.training.student,
        dataset=str(request.training.db.absolute()),
        dataset_sha256=data.fingerprint,
        on=bench.rows.on,
        planned=len(request.runs),
        base=base,
    )
    try:
        for number, asked in enumerate(request.runs, 1):
            report(f"Training {number} of {len(request.runs)}: λ {asked.beta:g}, seed {asked.seed}.")
            run = _train(asked, bench, data, report, cancellation)
            sweep = evolve(sweep, runs=(*sweep.runs, run))
            keep(sweep)
        sweep = evolve(sweep, status="done")
    except TrainingCancelledError:
        sweep = evolve(sweep, status="cancelled")
    keep(sweep)
    return sweep


def _train(
    asked: TrainingRequest,
    bench: Bench,
    data: Snapshot,
    report: Callable[[TrainingEvent | str], None],
    cancellation: Cancellation,
) -> SweepRun:
    from dorpo.training.run import Training

    if Training(asked, data, report, cancellation).run() == "cancelled":
        raise TrainingCancelledError
    with cancellation.interruptible():
        figures = bench.measure("trained", asked.output).figures
    return SweepRun(beta=asked.beta, seed=asked.seed, adapter=str(asked.output.absolute()), figures=figures)
