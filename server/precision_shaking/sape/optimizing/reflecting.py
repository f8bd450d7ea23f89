"""GEPA: the teacher reads what users said of answers, and writes its own instructions better.

Source: https://arxiv.org/abs/2507.19457, as `dspy.GEPA` implements it. DSPy runs it in threads; what
they ask or execute is handed back to the loop, where a cancelled process can end it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self

import dspy

from precision_shaking.sape.agents import Agent, wanted_options
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.optimizing.compiling import AT_A_TIME, dspy_example, judged
from precision_shaking.sape.optimizing.data import Example
from precision_shaking.sape.teachers import Teacher

# How long it goes on: answers for each example, and at least so many.
_CALLS_EACH, _LEAST_CALLS = 8, 60


async def gepa(agent: Agent, teacher: Teacher, train: Sequence[Example], instance: Instance) -> dspy.Module:
    """The agent's module with instructions that the teacher wrote."""
    desk = _Desk(agent, teacher, instance, asyncio.get_running_loop())
    optimizer = dspy.GEPA(
        metric=desk.metric,
        max_metric_calls=max(_LEAST_CALLS, _CALLS_EACH * len(train)),
        reflection_lm=teacher.lm,
        num_threads=1 if teacher.embedded else AT_A_TIME,
    )
    examples = [dspy_example(one, case=one) for one in train]
    compiled = await asyncio.to_thread(optimizer.compile, _Asked(desk), trainset=examples, valset=examples)
    return compiled.inner


class _Asked(dspy.Module):  # type: ignore[misc] # dspy is untyped
    """An agent's module as DSPy calls it: without waiting, from any thread."""

    def __init__(self, desk: _Desk) -> None:
        super().__init__()
        self.inner = desk.agent.module.deepcopy()
        self.desk = desk

    def forward(self, **inputs: str) -> dspy.Prediction:
        """Ask once, in the agent's own format."""
        return self.desk.ask(self.inner, inputs)


class _Desk:
    """Where DSPy's threads hand in what has to be done on the loop; they wait for it there."""

    def __init__(
        self, agent: Agent, teacher: Teacher, instance: Instance, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.agent = agent
        self.teacher = teacher
        self._instance = instance
        self._loop = loop

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Programs are copied all the time; this is not a part of them."""
        return self

    def ask(self, module: dspy.Module, inputs: dict[str, str]) -> dspy.Prediction:
        """Ask a variant of the agent's module. The thread's DSPy settings, its trace too, go along."""
        return asyncio.run_coroutine_threadsafe(self._ask(module, inputs), self._loop).result()

    async def _ask(self, module: dspy.Module, inputs: dict[str, str]) -> dspy.Prediction:
        fields = self.agent.fields(reasons=self.teacher.reasons)
        adapter = self.agent.adapter(fields, Exchange([]), None)
        options = self.teacher.options(**wanted_options(self.agent, self.teacher, inputs, 0))
        with dspy.context(lm=self.teacher.lm, adapter=adapter, disable_history=True):
            return await module.acall(config=options, **inputs)

    def metric(
        self,
        gold: dspy.Example,
        pred: dspy.Prediction,
        trace: Any = None,  # noqa: ARG002 - GEPA's signature
        pred_name: str | None = None,  # noqa: ARG002
        pred_trace: Any = None,  # noqa: ARG002
    ) -> dspy.Prediction:
        """A score, and what the user said, for GEPA to read."""
        work = judged(self.agent.name, gold.case, dict(pred.items()), self._instance)
        judgement = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        return dspy.Prediction(score=judgement.score, feedback=judgement.feedback)
