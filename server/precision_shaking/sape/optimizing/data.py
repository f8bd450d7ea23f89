"""What can be learned about each agent from the harvested steps, and what of it is kept to examine with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import ceil
from typing import Any

from attrs import frozen

from dorpo.store import HarvestedAttempt, HarvestedStep
from precision_shaking.sape.briefing import lead_inputs, planner_inputs
from precision_shaking.sape.execution import trim_traceback
from precision_shaking.sape.optimizing.comparing import MIN_EXAMPLES
from precision_shaking.sape.vocabulary import Reason, Setback

AGENTS = ("planner", "lead", "worker", "analyzer")
MIN_TRAIN, MIN_HELD_OUT = 3, MIN_EXAMPLES
_HELD_OUT_SHARE = 0.3
# Each is asked of the teacher twice: once for the old program, once for the new.
_MOST_HELD_OUT, _MOST_TRAIN = 40, 120


@frozen
class Rejected:
    """An output that was not accepted, why, and what the user or the error said."""

    output: str
    reason: str
    words: str = ""


@frozen
class Example:
    """What an agent was asked, and what it should have answered.

    Attributes:
        session: Uid of the session it comes from.
        step: The step in it; None for a plan.
        inputs: The signature's inputs.
        outputs: The signature's outputs: texts, or a list of texts.
        rejected: Other outputs of this step.
        document: The document's name.
        language: The document's language.
    """

    session: str
    step: int | None
    inputs: Mapping[str, str]
    outputs: Mapping[str, Any]
    rejected: tuple[Rejected, ...] = ()
    document: str = "script.py"
    language: str = "python"

    @property
    def place(self) -> str:
        """The session and step, as programs remember what they were made of."""
        return f"{self.session}/{'plan' if self.step is None else self.step}"


@frozen
class Split:
    """Examples to learn from and examples to be examined with; a session lies wholly on one side."""

    train: tuple[Example, ...] = ()
    held_out: tuple[Example, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether something can be learned and measured."""
        return len(self.train) >= MIN_TRAIN and len(self.held_out) >= MIN_HELD_OUT


def examples(steps: Iterable[HarvestedStep]) -> dict[str, list[Example]]:
    """Every agent's examples, in the order of the steps.

    The planner's are plans whose every step was accepted, the lead's the instruction that led to an accepted
    script, the worker's accepted scripts as the dataset's rows have them, and the analyzer's what users said
    and decided themselves: what a model has read is no measure for it.
    """
    found: dict[str, list[Example]] = {agent: [] for agent in AGENTS}
    for _, group in groupby(steps, key=lambda step: step.session):
        session = list(group)
        found["planner"] += _plans(session)
        for step in session:
            found["lead"] += _instructions(step)
            found["worker"] += _scripts(step)
            found["analyzer"] += _verdicts(step)
    return found


def split(found: Sequence[Example], seen: frozenset[str] = frozenset()) -> Split:
    """Hold examples out, always the same ones of the same data.

    The steps of a session resemble each other, so they stay together, and so do examples with the same
    inputs, wherever they come from.

    Args:
        found: All examples of an agent.
        seen: Places that the program in use was made of; held out, they would flatter it.
    """
    wanted = min(_MOST_HELD_OUT, max(MIN_HELD_OUT, ceil(len(found) * _HELD_OUT_SHARE)))
    held_out: list[Example] = []
    train: list[Example] = []
    for group in sorted(_groups(found), key=_rank):
        known = any(example.place in seen for example in group)
        left = len(found) - len(held_out) - len(group)
        if known or len(held_out) >= wanted or left < MIN_TRAIN:
            train += group
        else:
            held_out += group
    return Split(tuple(train[:_MOST_TRAIN]), tuple(held_out))


def _groups(found: Sequence[Example]) -> list[list[Example]]:
    groups: list[tuple[set[str], list[Example]]] = []
    for example in found:
        keys = {example.session, _fingerprint(example)}
        members = [example]
        touching = [group for group in groups if group[0] & keys]
        for group in touching:
            keys |= group[0]
            members = group[1] + members
            groups.remove(group)
        groups.append((keys, members))
    return [members for _, members in groups]


def _fingerprint(example: Example) -> str:
    return hashlib.sha256(json.dumps(dict(example.inputs), sort_keys=True).encode()).hexdigest()


def _rank(group: list[Example]) -> str:
    """A random order that is the same each time and does not follow the calendar."""
    return min(hashlib.sha256(example.place.encode()).hexdigest() for example in group)


def _plans(session: Sequence[HarvestedStep]) -> Iterator[Example]:
    if all(step.status == "accepted" for step in session):
        first = session[0]
        inputs = planner_inputs(first.request, first.script)
        steps = {"steps": [step.text for step in session]}
        yield Example(first.session, None, inputs, steps, (), first.document, first.language)


def _instructions(step: HarvestedStep) -> Iterator[Example]:
    chosen = _chosen(step)
    if chosen is None or chosen.cause == "by_hand":
        return
    before = [other for other in step.attempts if other.cycle < chosen.cycle and other.author == "worker"]
    setback = _setback(before[-1]) if before else None
    inputs = lead_inputs(step.request, step.text, chosen.base_script, setback)
    rejected = tuple(
        Rejected(other.instruction, other.reason, _complaint(other)) for other in before if other.reason
    )
    outputs = {"instruction": chosen.instruction}
    yield Example(step.session, step.step, inputs, outputs, rejected, step.document, step.language)


def _scripts(step: HarvestedStep) -> Iterator[Example]:
    chosen = _chosen(step)
    if chosen is None:
        return
    # The prompt of every row of a step is its first cycle's.
    first = step.attempts[0]
    inputs = {"instruction": first.instruction, "current_script": first.base_script}
    rejected = tuple(
        Rejected(other.script, other.reason, _complaint(other)) for other in step.attempts if other.reason
    )
    outputs = {"reasoning": chosen.reasoning, "script": chosen.script}
    yield Example(step.session, step.step, inputs, outputs, rejected, step.document, step.language)


def _verdicts(step: HarvestedStep) -> Iterator[Example]:
    for attempt in step.attempts:
        if attempt.words.strip() and attempt.verdict is not None and attempt.decided_by == "user":
            inputs = {"step": step.text, "feedback": attempt.words}
            yield Example(step.session, step.step, inputs, {"verdict": attempt.verdict})


def _chosen(step: HarvestedStep) -> HarvestedAttempt | None:
    found = [attempt for attempt in step.attempts if attempt.chosen]
    return found[0] if found and step.status == "accepted" else None


def _setback(attempt: HarvestedAttempt) -> Setback | None:
    if attempt.reason not in {Reason.ERROR, Reason.REDO, Reason.FURTHER_EDIT}:
        return None
    return Setback(Reason(attempt.reason), attempt.script, _complaint(attempt))


def _complaint(attempt: HarvestedAttempt) -> str:
    return trim_traceback(attempt.output) if attempt.reason == Reason.ERROR else attempt.words
