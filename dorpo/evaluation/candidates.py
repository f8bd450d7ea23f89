"""Students to be compared: the same rows, the same measure, one in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from peft import PeftModel

from dorpo.encoding import encode_rows
from dorpo.evaluation.answers import greedy_answers
from dorpo.evaluation.figures import Counts, Figures, Gain, gain, summarize
from dorpo.evaluation.lengths import Lengths, count_lengths
from dorpo.evaluation.measured_rows import MeasuredRows, of_origin, of_training
from dorpo.evaluation.measuring import measure
from dorpo.evaluation.origin import Origin
from dorpo.evaluation.pass_rate import PassRate, Ran, judge
from dorpo.store import Row
from dorpo.student import Student, StudentError, load_student
from dorpo.tokens import StudentTokens
from dorpo.training.plan import choose_device, make_plan
from dorpo.training.request import TrainingRefusedError, TrainingRequest

# For students that do not say how much they can read.
_UNKNOWN_WINDOW = 8192


@frozen(kw_only=True)
class Answering:
    """How a student's own answers are had.

    Attributes:
        prompts: How many prompts are answered at most, the first ones.
        most_tokens: Where an answer that does not end is cut off.
        run: Runs a script; None where answers are only counted.
    """

    prompts: int
    most_tokens: int
    run: Callable[[str], Ran] | None = None


@frozen(kw_only=True)
class Candidate:
    """A student that was measured.

    Attributes:
        name: As the report calls it.
        counts: Of every prompt.
        figures: What they add up to.
        gain: What it has over the bare student; None for that one.
        lengths: Of its own answers; None where it gave none.
        execution: What became of their scripts; None where they were not run.
    """

    name: str
    counts: Sequence[Counts]
    figures: Figures
    gain: Gain | None = None
    lengths: Lengths | None = None
    execution: PassRate | None = None


@frozen(kw_only=True)
class Bench:
    """What every candidate is measured on, and with.

    Attributes:
        request: Names the student, the device and whether every weight is trained.
        rows: The prompts that are measured.
        window: Tokens the student can read.
        tokens: How it cut the prompts.
        answering: How its own answers are had, if they are.
    """

    request: TrainingRequest
    rows: MeasuredRows
    window: int
    tokens: StudentTokens
    answering: Answering | None = None

    def measure(self, name: str, trained: Path | None = None, beside: Candidate | None = None) -> Candidate:
        """Load the student, as it was or as a training left it, and measure it.

        Args:
            name: For the report.
            trained: The training's folder: with an adapter, or a whole student if the request is for these.
            beside: Whom it is compared with.

        Raises:
            TrainingRefusedError: What was trained does not fit the student.
        """
        student = self._load(trained)
        model = student.model
        counts, seed = measure(model, self.rows.groups), self.request.seed
        candidate = Candidate(
            name=name,
            counts=counts,
            figures=summarize(counts, seed=seed),
            gain=None if beside is None else gain(beside.counts, counts, seed=seed),
        )
        return self._answered(candidate, model, student)

    def _load(self, trained: Path | None) -> Student:
        if trained is None:
            return load(self.request)
        if not self.request.full:
            return _with_adapter(load(self.request), trained)
        student = load(evolve(self.request, student=str(trained)))
        if student.tokens.tokenizer.get_vocab() != self.tokens.tokenizer.get_vocab():
            raise TrainingRefusedError(
                f"The student in {trained} has other tokens than {self.request.student}: "
                "give the student it was trained from."
            )
        return student

    def _answered(self, candidate: Candidate, model: Any, student: Student) -> Candidate:
        """With its own answers, if they are asked for."""
        asked = self.answering
        if asked is None:
            return candidate
        groups = self.rows.groups[: asked.prompts]
        answers = list(
            greedy_answers(model, student.tokens, groups, most_tokens=asked.most_tokens, window=self.window)
        )
        return evolve(
            candidate,
            lengths=count_lengths(answers, [len(group.chosen) for group in groups]),
            execution=None if asked.run is None else judge(answers, asked.run),
        )


def set_up(
    rows: Sequence[Row], request: TrainingRequest, origin: Origin | None, answering: Answering | None = None
) -> Bench:
    """Decide which rows are measured.

    Args:
        rows: All rows.
        request: A training as it was, or would be: its split is the one that is used.
        origin: Of what is measured beside the student; what it says about the sessions it saw goes first.
        answering: How the student's own answers are had, if they are.

    Raises:
        TrainingRefusedError: The student cannot be loaded or read any row, or none is left that was held out.
    """
    student = load(request)
    window = getattr(student.model.config, "max_position_embeddings", None) or _UNKNOWN_WINDOW
    groups = encode_rows(rows, student.tokens, top_k=request.top_k)
    plan = make_plan(groups, request, window)
    if origin is None or origin.held_out is None:
        measured = of_training(plan, planned=origin is not None or request.max_steps is not None)
    else:
        limit = min(request.max_length or window, window)
        fitting = [group for group in groups if group.longest <= limit]
        measured = of_origin(fitting, {row.uid: row.session for row in rows}, origin, origin.held_out)
    return Bench(request=request, rows=measured, window=window, tokens=student.tokens, answering=answering)


def load(request: TrainingRequest) -> Student:
    """The request's student without adapters, on its device.

    Raises:
        TrainingRefusedError: There is no such device or student.
    """
    device = choose_device(request.device)
    try:
        return load_student(
            request.student,
            device=device,
            lora=None,
            # Of steps of 1e-5, half precision would round most away.
            exact=request.full,
            allow_download=request.allow_download,
        )
    except StudentError as error:
        raise TrainingRefusedError(str(error)) from error


def _with_adapter(student: Student, folder: Path) -> Student:
    try:
        return evolve(student, model=PeftModel.from_pretrained(student.model, str(folder)))
    except Exception as error:  # a foreign adapter fails in the library's own ways
        raise TrainingRefusedError(
            f"The adapter {folder} does not fit the student {student.name}: "
            "give the student it was trained on."
        ) from error
