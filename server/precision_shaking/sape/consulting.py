"""Asking the agents: whom, in which words, how often, and what to make of their answers."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from precision_shaking.sape import events as e
from precision_shaking.sape import happenings as h
from precision_shaking.sape.agents import Agent, Agents, Reply
from precision_shaking.sape.briefing import lead_inputs, planner_inputs
from precision_shaking.sape.channel import Call, Channel
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.formats import FieldStream
from precision_shaking.sape.instances.documents import DocumentFaultError
from precision_shaking.sape.recall import recalled
from precision_shaking.sape.recorder import Recorder
from precision_shaking.sape.setbacks import in_short, repeats, setback_block
from precision_shaking.sape.state import State
from precision_shaking.sape.teachers import Teacher, TeacherError
from precision_shaking.sape.vocabulary import Attempt, Verdict

# Once more after an answer that cannot be read, then the next teacher.
_TRIES = 2


@define
class Consultant:
    """Asks agents on behalf of a session, keeps every call, and tells of it.

    The worker's teacher is the workflow's choice. The other agents use the first teacher of their pool that
    works: one that fails is not asked by them again.

    Attributes:
        pools: Each agent's teachers, by its name.
        read: The whole document that an answer to a task means; raises DocumentFaultError.
        fault: Why a document must not be shown all the same, from what it was made of; empty when it may be.
    """

    agents: Agents
    pools: Mapping[str, Sequence[Teacher]]
    recorder: Recorder
    channel: Channel
    emit: Callable[[e.SessionEvent], None]
    read: Callable[[str, str], str]
    fault: Callable[[str, str], str]
    _failed: set[int] = field(factory=set, init=False)

    async def plan(self, state: State, task: h.AskPlanner) -> tuple[str, ...]:
        """The steps of the change request.

        Raises:
            TeacherError: No teacher can plan.
        """
        inputs = planner_inputs(task.request, task.script, state.limits.max_whole_lines)
        return tuple((await self._first_answer(self.agents.planner, inputs, state))["steps"])

    async def instruct(self, state: State, task: h.AskLead) -> str:
        """The worker's instruction.

        Raises:
            TeacherError: No teacher can lead.
        """
        limit = state.limits.max_whole_lines
        inputs = lead_inputs(state.request, task.step, task.script, task.setback, limit)
        return str((await self._first_answer(self.agents.lead, inputs, state))["instruction"])

    async def work(self, state: State, task: h.AskWorker) -> tuple[h.Produced | h.Unreadable, Reply | None]:
        """A script, or why there is none to show."""
        setback = in_short(task.setback, task.script, state.limits.max_whole_lines)
        instruction = task.instruction + setback_block(setback)
        inputs = {"instruction": instruction, "current_script": task.script}
        try:
            reply = await self._patiently(
                self.agents.worker, self.pools["worker"][task.teacher], inputs, task.repeat, state
            )
        except TeacherError as error:
            return h.Unreadable(str(error), hopeless=not error.passing), None
        if reply.fields is None:
            return h.Unreadable(reply.why), reply
        try:
            script = self.read(task.script, reply.fields["script"])
        except DocumentFaultError as error:
            return h.Unreadable(f"The answer is not what was asked for: {error}"), reply
        fault = self._fault(task, script)
        if fault:
            return h.Unreadable(fault), reply
        attempt = Attempt(str(uuid.uuid4()), reply.exchange.text or "", reply.fields["reasoning"], script)
        return h.Produced(attempt), reply

    async def read_feedback(self, state: State, task: h.ReadFeedback) -> Verdict | None:
        """The verdict that the user's words mean; None when they do not say or nobody can read them."""
        if known := recalled(task.words, self.recorder.users_words()):
            return known
        try:
            fields = await self._first_answer(
                self.agents.analyzer, {"step": task.step, "feedback": task.words}, state
            )
        except TeacherError:
            # A proposal is not lost because its analyzer is: the user has buttons.
            return None
        return Verdict(fields["verdict"]) if fields["verdict"] in set(Verdict) else None

    async def _first_answer(self, agent: Agent, inputs: dict[str, str], state: State) -> dict[str, Any]:
        problem = TeacherError("There is no teacher.")
        pool = self.pools[agent.name]
        for teacher in [teacher for teacher in pool if id(teacher) not in self._failed] or pool:
            try:
                return await self._readable(agent, teacher, inputs, state)
            except _UnreadableError as error:
                problem = error
            except TeacherError as error:
                problem = error
                self._failed.add(id(teacher))
        # Whoever asks later finds the whole pool again.
        self._failed.clear()
        raise problem

    async def _readable(
        self, agent: Agent, teacher: Teacher, inputs: dict[str, str], state: State
    ) -> dict[str, Any]:
        why = ""
        for repeat in range(_TRIES):
            try:
                reply = await self._patiently(agent, teacher, inputs, repeat, state)
            except TeacherError as error:
                if not error.passing:
                    raise
                why = str(error)
                continue
            if reply.fields is not None:
                return reply.fields
            why = reply.why
        raise _UnreadableError(f"{teacher.name} gives no answer that the {agent.name} can use: {why}")

    async def _patiently(
        self, agent: Agent, teacher: Teacher, inputs: dict[str, str], repeat: int, state: State
    ) -> Reply:
        """Call until the teacher answers, or has failed so often that waiting is no use."""
        failures = 0
        while True:
            try:
                return await self._call(agent, teacher, inputs, repeat, state)
            except TeacherError as error:
                failures += 1
                chance = random.random()  # noqa: S311 - nothing secret depends on it
                pause = teacher.patience.pause(error.trouble, failures, error.retry_after, chance)
                if pause is None:
                    raise
                self.emit(e.TeacherWaiting(teacher.name, pause, str(error), error.trouble))
                await asyncio.sleep(pause)

    async def _call(
        self, agent: Agent, teacher: Teacher, inputs: dict[str, str], repeat: int, state: State
    ) -> Reply:
        place = (state.step, state.cycle) if state.step >= 0 else (None, None)
        self.emit(e.AgentStarted(agent.name, teacher.name, *place))
        stream, exchange, started = FieldStream(), Exchange([]), time.monotonic()

        def on_text(text: str) -> None:
            for name, piece in stream.feed(text):
                self.emit(e.AgentText(agent.name, name, piece))

        status = "error"
        try:
            reply = await self.channel.ask(Call(agent, teacher, inputs, repeat, exchange, on_text))
            status = "ok" if reply.fields is not None else "unreadable"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        finally:
            seconds = time.monotonic() - started
            self.recorder.called(agent.name, teacher.name, exchange, status, seconds, state)
        tokens = (exchange.input_tokens, exchange.output_tokens)
        self.emit(e.AgentFinished(agent.name, teacher.name, reply.seconds, *tokens))
        return reply

    def _fault(self, task: h.AskWorker, script: str) -> str:
        """Why a readable script must not be shown all the same; empty when it may be."""
        if repeats(script, task.rejected):
            return "The teacher wrote a script again that was rejected at this step."
        return self.fault(task.script, script)


class _UnreadableError(TeacherError):
    """A teacher answers, but never so that it can be read."""
