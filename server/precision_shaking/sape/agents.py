"""The agents of an instance: what each is asked, what it may answer, and how one is called.

Prompts are short and concrete, so that a model of a hundred million parameters can follow them too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Self

import dspy
from attrs import field, frozen
from dspy.utils.exceptions import (
    AdapterParseError,
    DSPyError,
    LMInvalidRequestError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
)

from dorpo.rendering import MAX_WHOLE_LINES, SYSTEM_PROMPT
from precision_shaking.sape.adapter import REASONING, MarkerAdapter, WorkerAdapter
from precision_shaking.sape.embedded.grammar import Choice, Code, Field, Line, Lines
from precision_shaking.sape.exchange import Exchange, Respond
from precision_shaking.sape.explaining import explain
from precision_shaking.sape.formats import excerpt, whole_characters
from precision_shaking.sape.instances.catalogue import default
from precision_shaking.sape.instances.declaration import ROLES, AgentPart, Instance
from precision_shaking.sape.reading import read_by_itself
from precision_shaking.sape.routes import Place
from precision_shaking.sape.teachers import Teacher, TeacherError
from precision_shaking.sape.vocabulary import READINGS

# Greedy first; who is asked again must not say the same.
_TEMPERATURES = (0.0, 0.4, 0.7, 0.9, 1.0)
_CHARS_PER_TOKEN = 2
# What a chain of thought is asked for with, and its characters where a grammar bounds it.
_THOUGHT = "one or two sentences: what matters here, and what follows from it"
_LONGEST_THOUGHT = 300


class Plan(dspy.Signature):  # type: ignore[misc] # dspy is untyped
    """The planner; what agents are told to do stands in their instance's declaration."""

    change_request: str = dspy.InputField()
    current_script: str = dspy.InputField()
    goal: str = dspy.InputField()
    steps: list[str] = dspy.OutputField(desc="a numbered list, one short sentence for each step")


class Instruct(dspy.Signature):  # type: ignore[misc]
    """The lead."""

    current_script: str = dspy.InputField()
    what_happened: str = dspy.InputField()
    attempted_script: str = dspy.InputField()
    change_request: str = dspy.InputField()
    step: str = dspy.InputField()
    instruction: str = dspy.OutputField(desc="one or two sentences that tell the programmer what to do")


class Work(dspy.Signature):  # type: ignore[misc]
    """The worker, without its reasoning; rendered as the dataset does, see `WorkerAdapter`."""

    instruction: str = dspy.InputField()
    current_script: str = dspy.InputField()
    script: str = dspy.OutputField(desc="the whole changed script")


class ReadFeedback(dspy.Signature):  # type: ignore[misc]
    """The feedback analyzer."""

    step: str = dspy.InputField()
    feedback: str = dspy.InputField()
    verdict: Literal["accepted", "redo", "further_edit", "unclear"] = dspy.OutputField(
        desc="accepted, redo, further_edit or unclear"
    )


@frozen
class Agent:
    """An agent: its module, the shape of its answer, and the tokens it may need.

    Attributes:
        thought: The reasoning before the answer, for teachers that gain from it; None where it is not wanted,
            or belongs to the answer.
        embedded_respond: How the embedded model answers where it is too small to be asked; gets the teacher
            and the inputs.
    """

    name: str
    module: dspy.Module
    shape: tuple[Field, ...]
    thought: Field | None = None
    adapter: Callable[[Sequence[Field], Exchange, Respond | None], MarkerAdapter] = MarkerAdapter
    max_tokens: int = 256
    embedded_respond: Callable[[Teacher, dict[str, str]], Respond] | None = None

    def fields(self, *, reasons: bool) -> tuple[Field, ...]:
        """What a teacher that reasons, or one that does not, is to answer with."""
        return (self.thought, *self.shape) if self.thought and reasons else self.shape


@frozen
class Agents:
    """The agents of an instance; modules may be replaced by optimised ones with the same signature."""

    planner: Agent
    lead: Agent
    worker: Agent
    analyzer: Agent

    @classmethod
    def of(cls, instance: Instance, max_whole_lines: int = MAX_WHOLE_LINES) -> Self:
        """An instance's agents; one that no edge leads to is made of nothing and never asked.

        Args:
            instance: Whose.
            max_whole_lines: The longest script that the worker writes whole.
        """
        parts = {place: instance.agents.get(place, AgentPart()) for place in ROLES}
        return cls(
            planner=_planner(parts[Place.PLANNER]),
            lead=_lead(parts[Place.LEAD]),
            worker=_worker(parts[Place.WORKER], max_whole_lines),
            analyzer=_analyzer(parts[Place.ANALYZER]),
        )

    @classmethod
    def for_scripts(cls) -> Self:
        """The white paper's use case: an executable script and a change request."""
        return cls.of(default())


def _planner(part: AgentPart) -> Agent:
    shape = Field("steps", Lines(part.answer.items, part.answer.longest))
    return Agent("planner", *_short(Plan, Place.PLANNER, part, shape))


def _lead(part: AgentPart) -> Agent:
    shape = Field("instruction", Line(part.answer.longest))
    return Agent("lead", *_short(Instruct, Place.LEAD, part, shape))


def _worker(part: AgentPart, max_whole_lines: int) -> Agent:
    work = Work.with_instructions(part.instructions.strip() or SYSTEM_PROMPT)
    shape = (Field("reasoning", Line(part.answer.longest)), Field("script", Code(part.answer.fence)))
    adapter = partial(WorkerAdapter, max_whole_lines=max_whole_lines)
    return Agent("worker", dspy.ChainOfThought(work, rationale_field_type=str), shape, adapter=adapter)


def _analyzer(part: AgentPart) -> Agent:
    shape = Field("verdict", Choice(READINGS))
    return Agent(
        "analyzer",
        *_short(ReadFeedback, Place.ANALYZER, part, shape),
        embedded_respond=read_by_itself,
    )


def _short(
    role: Any, place: Place, part: AgentPart, shape: Field
) -> tuple[dspy.Module, tuple[Field, ...], Field | None]:
    """Module, answer and reasoning of an agent with a short answer."""
    signature = _declared(role, place, part)
    if not part.reasons(place):
        return dspy.Predict(signature), (shape,), None
    module = dspy.ChainOfThought(signature, dspy.OutputField(desc=_THOUGHT), rationale_field_type=str)
    return module, (shape,), Field(REASONING, Line(_LONGEST_THOUGHT))


def _declared(role: Any, place: Place, part: AgentPart) -> Any:
    """A place's signature with the inputs and the instructions of a declaration."""
    annotations = {**role.input_fields, **role.output_fields}
    names = [*part.inputs(place), *role.output_fields]
    wanted = {name: (annotations[name].annotation, annotations[name]) for name in names}
    return dspy.Signature(wanted, part.instructions.strip() or role.instructions)


@frozen
class Reply:
    """What came of asking an agent.

    Attributes:
        exchange: The call as it was.
        seconds: How long the teacher took.
        fields: The answer's fields; None when it cannot be used.
        why: In that case, one sentence that says why.
    """

    exchange: Exchange
    seconds: float
    fields: dict[str, Any] | None = field(default=None)
    why: str = ""


async def ask(
    agent: Agent,
    teacher: Teacher,
    inputs: dict[str, str],
    *,
    repeat: int,
    exchange: Exchange,
    on_text: Callable[[str], None],
    respond: Respond | None = None,
) -> Reply:
    """Ask an agent once.

    Args:
        agent: Whom.
        teacher: The model that plays it.
        inputs: Its signature's inputs; empty ones are left out.
        repeat: How often this was asked before: 0 is greedy, more is ever more varied.
        exchange: Filled with the call, even when this is cancelled.
        on_text: Gets the answer while it is written, markers included.
        respond: Answers instead of the teacher's language model.

    Raises:
        TeacherError: The teacher failed.
    """
    started, listener = time.monotonic(), _Listener(on_text)
    if respond is None and teacher.embedded and agent.embedded_respond is not None:
        respond = agent.embedded_respond(teacher, inputs)
    try:
        async with asyncio.timeout(teacher.patience.total_seconds):
            adapter = agent.adapter(agent.fields(reasons=teacher.reasons), exchange, respond)
            adapter.held = not teacher.access.worker_only
            fields, why = await _ask(agent, teacher, inputs, repeat, adapter, listener)
    except (DSPyError, TimeoutError, OSError) as error:
        raise explain(error, teacher.access, begun=listener.heard) from error
    except ImportError as error:
        raise TeacherError(
            f"{teacher.name} needs a package that is missing: install precision-shaking[agents]."
        ) from error
    if exchange.finish_reason == "length":
        fields, why = None, "The answer was cut off at the longest length."
    elif exchange.finish_reason == "content_filter":
        fields, why = None, "The teacher's provider withheld the answer."
    if fields is None:
        why += excerpt(exchange.text or "")
    return Reply(exchange, time.monotonic() - started, fields, why)


async def _ask(
    agent: Agent,
    teacher: Teacher,
    inputs: dict[str, str],
    repeat: int,
    adapter: MarkerAdapter,
    listener: _Listener,
) -> tuple[dict[str, Any] | None, str]:
    while True:
        wanted = wanted_options(agent, teacher, inputs, repeat)
        options = teacher.options(**wanted, prediction=adapter.draft(inputs) or None)
        with dspy.context(
            lm=teacher.lm, adapter=adapter, disable_history=True, trace=None, send_stream=listener
        ):
            try:
                prediction = await agent.module.acall(config=options, **inputs)
            except AdapterParseError:
                return None, adapter.exchange.fault
            except (LMUnsupportedFeatureError, LMInvalidRequestError, LMUnexpectedError) as error:
                if not teacher.learn_from(error, options):
                    raise
            else:
                return dict(prediction.items()), ""


def wanted_options(agent: Agent, teacher: Teacher, inputs: dict[str, str], repeat: int) -> dict[str, Any]:
    """How a teacher is to answer, of which it may turn out not to take everything; None is its own choice."""
    return {
        "temperature": _TEMPERATURES[min(repeat, len(_TEMPERATURES) - 1)],
        "seed": repeat,
        # Others know their own limit; the embedded model would write to the end of its context.
        "max_tokens": _budget(agent, inputs) if teacher.embedded else None,
    }


def _budget(agent: Agent, inputs: dict[str, str]) -> int:
    """Tokens that the answer may have: for the worker, the script again and as much as it may grow."""
    script = inputs["current_script"] if agent.name == "worker" else ""
    return agent.max_tokens + len(script) // _CHARS_PER_TOKEN


class _Listener:
    """What DSPy sends a stream's chunks to; `heard` is true from the first on."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self.heard = False
        self._on_text = on_text

    async def send(self, chunk: Any) -> None:
        for choice in chunk.choices:
            if choice.delta.content:
                self.heard = True
                self._on_text(whole_characters(choice.delta.content))
