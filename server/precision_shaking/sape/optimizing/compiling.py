"""Compiling an agent's program and measuring it. Runs in the optimising process only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import PurePath
from typing import Any

import dspy

from precision_shaking.sape.agents import Agent, Reply, ask
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.execution import execute, trim_traceback
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.documents import DocumentFaultError
from precision_shaking.sape.instances.executing import Sandboxed
from precision_shaking.sape.optimizing.data import Example
from precision_shaking.sape.optimizing.metrics import Judgement, judge, unreadable
from precision_shaking.sape.teachers import Teacher, TeacherError
from precision_shaking.sape.vocabulary import Outcome

# Examples that an agent is shown, and the characters that all of them may have: they are read at every call.
_MOST_DEMOS = 6
_DEMO_CHARS = {"planner": 6000, "lead": 6000, "worker": 8000, "analyzer": 3000}
_EMBEDDED_DEMO_CHARS = 1500
# Answers that are asked for at a time.
AT_A_TIME = 4


def few_shot(agent: Agent, train: Sequence[Example], *, embedded: bool) -> dspy.Module:
    """The agent's module with accepted answers as examples; nothing is asked."""
    shown = choose_demos(train, _EMBEDDED_DEMO_CHARS if embedded else _DEMO_CHARS[agent.name])
    optimizer = dspy.LabeledFewShot(k=len(shown))
    return optimizer.compile(agent.module, trainset=[dspy_example(one) for one in shown], sample=False)


def choose_demos(train: Sequence[Example], longest: int) -> list[Example]:
    """Some examples that together have at most so many characters, every outcome in turn.

    The short ones go first: what an example shows does not depend on the length of its script.
    """
    by_outcome: dict[str, list[Example]] = {}
    for example in sorted(train, key=_length):
        # Verdicts are few and must all be shown; every other output is an outcome of its own.
        outcome = str(example.outputs.get("verdict", ""))
        by_outcome.setdefault(outcome, []).append(example)
    turns = zip_longest(*by_outcome.values())
    chosen: list[Example] = []
    for example in (one for turn in turns for one in turn if one is not None):
        if len(chosen) < _MOST_DEMOS and sum(map(_length, chosen)) + _length(example) <= longest:
            chosen.append(example)
    return chosen


async def measure(
    agent: Agent, teacher: Teacher, examples: Sequence[Example], instance: Instance
) -> list[Judgement]:
    """Ask each example once, as a session would first ask it, and judge the answers.

    Raises:
        TeacherError: The teacher failed.
    """
    free = asyncio.Semaphore(1 if teacher.embedded else AT_A_TIME)

    async def one(example: Example) -> Judgement:
        async with free:
            return await _examine(agent, teacher, example, instance)

    tasks = [asyncio.ensure_future(one(example)) for example in examples]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _examine(agent: Agent, teacher: Teacher, example: Example, instance: Instance) -> Judgement:
    try:
        reply = await _patiently(agent, teacher, example)
    except TeacherError as error:
        if not error.passing:
            raise
        return unreadable(str(error))
    if reply.fields is None:
        return unreadable(reply.why)
    return await judged(agent.name, example, reply.fields, instance)


async def judged(agent: str, example: Example, fields: dict[str, Any], instance: Instance) -> Judgement:
    """Judge an answer; where sessions run the document itself, it is run for that."""
    error = None
    if agent == "worker":
        try:
            script = instance.document.read(example.inputs["current_script"], fields["script"], None)
        except DocumentFaultError as fault:
            return unreadable(str(fault))
        fields = {**fields, "script": script}
    if agent == "worker" and isinstance(instance.executing, Sandboxed):
        name = PurePath(example.document).name or "script.py"
        run = await execute(fields["script"], file_name=name, language=example.language)
        # As in a session: only this is the script's own fault.
        error = trim_traceback(run.output) if run.outcome is Outcome.SCRIPT_ERROR else None
    return judge(agent, example, fields, error)


async def _patiently(agent: Agent, teacher: Teacher, example: Example) -> Reply:
    failures = 0
    while True:
        try:
            return await ask(
                agent,
                teacher,
                dict(example.inputs),
                repeat=0,
                exchange=Exchange([]),
                on_text=lambda _: None,
            )
        except TeacherError as error:
            failures += 1
            chance = random.random()  # noqa: S311 - nothing secret depends on it
            pause = teacher.patience.pause(error.trouble, failures, error.retry_after, chance)
            if pause is None:
                raise
            await asyncio.sleep(pause)


def dspy_example(example: Example, **more: Any) -> dspy.Example:
    """An example in DSPy's own form, with more fields that are no inputs."""
    return dspy.Example(**example.inputs, **example.outputs, **more).with_inputs(*example.inputs)


def _length(example: Example) -> int:
    return sum(len(str(value)) for value in (*example.inputs.values(), *example.outputs.values()))
