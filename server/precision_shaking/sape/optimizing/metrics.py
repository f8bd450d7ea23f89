"""How good an answer is, by what the user decided of others.

The scores compare with what was accepted before. They say that a program does what the user wanted then, not
that the user would accept what it writes now: only asking them says that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from attrs import frozen

from precision_shaking.sape.optimizing.data import Example, Rejected

# What a report calls each agent's score.
METRICS = {
    "planner": "similarity to the accepted steps",
    "lead": "similarity to the instruction of the accepted script",
    "worker": "runs without error, and similarity to the accepted script",
    "analyzer": "agreement with the user's verdict",
}
_RESULTS = {"planner": "steps", "lead": "instruction", "worker": "script", "analyzer": "verdict"}
# Indentation is code, other spaces are not.
_WORD = re.compile(r"\n[ \t]*|\w+|[^\w\s]")
# A prompt optimizer reads several of these at once.
_LONGEST_SHOWN = 2000


@frozen
class Judgement:
    """A score in 0 … 1, and the words that explain it to whoever improves the prompt."""

    score: float
    feedback: str


def unreadable(why: str) -> Judgement:
    """Of an answer that cannot be used."""
    return Judgement(0.0, f"The answer could not be used. {why}")


def judge(agent: str, example: Example, fields: Mapping[str, Any], error: str | None = None) -> Judgement:
    """Judge a readable answer.

    Args:
        agent: Whose it is.
        example: What was asked.
        fields: What was answered.
        error: For a script, how it failed when it was run; None when it did not.
    """
    name = _RESULTS[agent]
    answer, accepted = _text(fields[name]), _text(example.outputs[name])
    if agent == "analyzer":
        return _judge_verdict(example, answer, accepted)
    if answer == accepted:
        return Judgement(1.0, "This is what the user accepted.")
    if error is not None:
        return Judgement(0.0, f"The script fails when it is run:\n{error}")
    if agent == "worker" and answer == _text(example.inputs["current_script"]):
        return Judgement(0.0, "The script was not changed at all.")
    for rejected in example.rejected:
        if answer == _text(rejected.output):
            return Judgement(0.0, f"Exactly this was rejected. {_said(rejected)}")
    return Judgement(similarity(answer, accepted), _comment(example, accepted))


def similarity(one: str, other: str) -> float:
    """`difflib`'s ratio of two texts' words and signs, in 0 … 1.

    Letters would make texts of different words alike, and whole lines would see nothing in a short one.
    """
    return SequenceMatcher(None, _WORD.findall(one), _WORD.findall(other), autojunk=False).ratio()


def _judge_verdict(example: Example, answer: str, meant: str) -> Judgement:
    if answer == meant:
        return Judgement(1.0, f"Right, the user meant {meant}.")
    words = example.inputs["feedback"]
    return Judgement(0.0, f"The user said {words!r} and meant {meant}, which they decided themselves.")


def _comment(example: Example, accepted: str) -> str:
    said = [_said(rejected) for rejected in example.rejected]
    earlier = ["Of earlier answers to the same:", *said] if said else []
    shown = accepted if len(accepted) <= _LONGEST_SHOWN else f"{accepted[:_LONGEST_SHOWN]}…"
    return "\n".join([*earlier, "The user accepted this:", shown])


def _said(rejected: Rejected) -> str:
    words = rejected.words.strip()
    if rejected.reason == "error":
        return f"It failed when it was run: {words}"
    wanted = {"redo": "done again", "further_edit": "changed further"}.get(
        rejected.reason, "corrected by hand"
    )
    return f"The user wanted it {wanted}" + (f" and said: {words}" if words else ".")


def _text(value: Any) -> str:
    return "\n".join(value) if isinstance(value, list) else str(value).strip("\n")
