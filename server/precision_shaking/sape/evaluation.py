"""How well the feedback analyzer reads: labelled feedback, and figures of what a teacher made of it.

The set lies beside this module and goes wherever the package goes. Nothing here asks a model.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from precision_shaking.sape.vocabulary import READINGS, Verdict

FEEDBACK = Path(__file__).parent / "data" / "feedback.jsonl"
# The one half is there to choose how to read by, the other to measure what was chosen.
HALVES = ("development", "test")
_HALVES_SEED = 20260101
# What becomes of an answer that is none of the readings.
UNREADABLE = "unreadable"


class EvaluationError(Exception):
    """The set cannot be used; the message is one sentence for the user."""


@frozen
class Feedback:
    """What a user might say about a proposal.

    Attributes:
        text: Their words.
        language: ISO 639-1 code of the words' language.
        tone: curt, polite, sarcastic, technical, vague or emoji.
        verdict: What they mean, one of `READINGS`.
        step: The step that the proposal was for.
    """

    text: str
    language: str
    tone: str
    verdict: str
    step: str


@frozen
class Evaluation:
    """What a teacher made of a set.

    Attributes:
        teacher: Its name.
        confusion: Count by the meant verdict, then by the reading or `UNREADABLE`; zeros included.
        seconds: How long all answers took together.
    """

    teacher: str
    confusion: Mapping[str, Mapping[str, int]]
    seconds: float

    @property
    def items(self) -> int:
        """How many feedbacks were read."""
        return sum(sum(readings.values()) for readings in self.confusion.values())

    @property
    def unreadable(self) -> int:
        """Answers that could not be used; each counts as wrong."""
        return sum(readings[UNREADABLE] for readings in self.confusion.values())

    @property
    def accuracy(self) -> float | None:
        """Share of right readings in 0 … 1; None of nothing."""
        return _share(sum(self.confusion[meant][meant] for meant in READINGS), self.items)

    @property
    def coverage(self) -> float | None:
        """Share of feedbacks that were taken for a verdict; of the others the user is asked."""
        return _share(self._taken_for(*Verdict), self.items)

    @property
    def accuracy_of_answers(self) -> float | None:
        """Share of right readings among those that were taken for a verdict; None if none was."""
        return _share(sum(self.confusion[verdict][verdict] for verdict in Verdict), self._taken_for(*Verdict))

    @property
    def wrongly_accepted(self) -> int:
        """Feedbacks that were taken for accepted and are not: the worst error, since it closes the step."""
        return self._taken_for(Verdict.ACCEPTED) - self.confusion[Verdict.ACCEPTED][Verdict.ACCEPTED]

    def _taken_for(self, *verdicts: str) -> int:
        return sum(readings[verdict] for readings in self.confusion.values() for verdict in verdicts)

    @property
    def accuracy_by_verdict(self) -> dict[str, float | None]:
        """The same, of the feedbacks that mean each verdict."""
        return {
            meant: _share(readings[meant], sum(readings.values()))
            for meant, readings in self.confusion.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Every figure as a JSON object."""
        return {
            "teacher": self.teacher,
            "items": self.items,
            "accuracy": self.accuracy,
            "coverage": self.coverage,
            "accuracy_of_answers": self.accuracy_of_answers,
            "wrongly_accepted": self.wrongly_accepted,
            "accuracy_by_verdict": self.accuracy_by_verdict,
            "confusion": {meant: dict(readings) for meant, readings in self.confusion.items()},
            "unreadable": self.unreadable,
            "seconds": round(self.seconds, 3),
        }


def evaluate(
    teacher: str, feedbacks: Sequence[Feedback], readings: Sequence[str | None], seconds: float
) -> Evaluation:
    """Count how each feedback was read.

    Args:
        teacher: Its name.
        feedbacks: The set.
        readings: What was made of each, in the same order; None for an answer that could not be read.
        seconds: How long that took.
    """
    confusion = {meant: dict.fromkeys((*READINGS, UNREADABLE), 0) for meant in READINGS}
    for feedback, reading in zip(feedbacks, readings, strict=True):
        confusion[feedback.verdict][UNREADABLE if reading is None else reading] += 1
    return Evaluation(teacher, confusion, seconds)


def half(feedbacks: Sequence[Feedback], name: str) -> list[Feedback]:
    """One half of a set, always the same one of the same set, in the set's order.

    Each verdict is in both alike, and each language of which there are several for a verdict.

    Args:
        feedbacks: The set.
        name: One of `HALVES`.
    """
    order = list(range(len(feedbacks)))
    random.Random(_HALVES_SEED).shuffle(order)  # noqa: S311 - nothing secret depends on it
    mine: list[int] = []
    for verdict in READINGS:
        of_verdict = [number for number in order if feedbacks[number].verdict == verdict]
        of_verdict.sort(key=lambda number: feedbacks[number].language)
        mine += of_verdict[HALVES.index(name) :: len(HALVES)]
    return [feedbacks[number] for number in sorted(mine)]


def read_feedbacks(path: Path) -> list[Feedback]:
    """Read a set: a JSON object a line, with the fields of `Feedback`.

    Raises:
        EvaluationError: The file or a line of it cannot be used, or there is no line.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise EvaluationError(f"The feedbacks {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"The feedbacks {path} are no UTF-8 text: save them as UTF-8.") from error
    feedbacks = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                feedbacks.append(_feedback(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise EvaluationError(f"Line {number} of {path} is no feedback: {error}.") from error
    if not feedbacks:
        raise EvaluationError(f"{path} is empty: write a feedback a line.")
    return feedbacks


def _feedback(data: Any) -> Feedback:
    names = [attribute.name for attribute in fields(Feedback)]
    if not isinstance(data, dict) or sorted(data) != sorted(names):
        raise TypeError(f"it needs the fields {', '.join(names)}")
    if not all(isinstance(value, str) and value.strip() for value in data.values()):
        raise TypeError("every field is a text with something in it")
    if data["verdict"] not in READINGS:
        raise ValueError(f"its verdict is none of {', '.join(READINGS)}")
    return Feedback(**data)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
