"""What an instance is, as data: agents, the edges between them, a document, and what executing means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import field, fields, frozen

from precision_shaking.sape.instances.documents import Document, OneFile
from precision_shaking.sape.instances.executing import Command, Executing, Sandboxed
from precision_shaking.sape.routes import WALKABLE, Place, Routes

# An agent's name is its place in the flow.
_AGENTS = tuple(place for place in Place if place not in (Place.EXECUTE, Place.USER))
_LONGEST = 1000  # what a grammar can bound


@frozen
class Role:
    """What the engine offers an agent of a place, and what it needs back.

    Attributes:
        inputs: What its signature may take.
        outputs: What its signature has to give, of which the reasoning may be left out.
        fixed: Whether it has to take and give all of these in this order: the dataset renders them.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fixed: bool = False

    @property
    def signature(self) -> str:
        """The one that takes everything."""
        return f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"


ROLES: Mapping[str, Role] = {
    Place.PLANNER: Role(("change_request", "current_script", "goal"), ("reasoning", "steps")),
    Place.LEAD: Role(
        ("current_script", "what_happened", "attempted_script", "change_request", "step"),
        ("reasoning", "instruction"),
    ),
    Place.WORKER: Role(("instruction", "current_script"), ("reasoning", "script"), fixed=True),
    Place.ANALYZER: Role(("step", "feedback"), ("reasoning", "verdict")),
}


@frozen
class AnswerShape:
    """What an agent's answer may hold; models that take a grammar are held to it.

    Attributes:
        longest: Characters of an item, an instruction or the worker's reasoning.
        items: Most steps of a plan.
        fence: The language that stands at the fence of the worker's text.
    """

    longest: int = 300
    items: int = 3
    fence: str = "python"


@frozen
class AgentPart:
    """An agent.

    Attributes:
        signature: `input, … -> output, …`; empty for everything that its place offers.
        instructions: What it is told to do. The worker's follow the dataset's own; empty leaves those alone.
        teachers: Its pool, of the session's teachers, as NAME[@BASE_URL]; empty for all of them.
        answer: What its answer may hold.
    """

    signature: str = ""
    instructions: str = ""
    teachers: tuple[str, ...] = ()
    answer: AnswerShape = field(factory=AnswerShape)

    def inputs(self, place: str) -> tuple[str, ...]:
        """What the signature takes, in its order."""
        return _split(self.signature or ROLES[place].signature)[0]

    def reasons(self, place: str) -> bool:
        """Whether its answer begins with a chain of thought."""
        return "reasoning" in _split(self.signature or ROLES[place].signature)[1]


@frozen
class Instance:
    """A SAPE instance.

    Attributes:
        name: What users call it by.
        title: What it does, in a few words.
        agents: By their places.
        languages: Identifiers of the languages that its documents may have, as editors call them; `*` is any.
        edges: Where the session goes from each place.
        document: What a document is.
        executing: What executing a worker's document means.
        optimized: Whether agents use the prompts that `precision-shaking optimize` made of the dataset.
    """

    name: str
    title: str
    agents: dict[str, AgentPart]
    languages: tuple[str, ...] = ("*",)
    edges: Routes = field(factory=Routes)
    document: Document = field(factory=OneFile)
    executing: Executing = field(factory=Sandboxed)
    optimized: bool = False

    def fits(self, language: str) -> bool:
        """Whether its documents may have this language."""
        return "*" in self.languages or language in self.languages


def faults(instance: Instance) -> Iterator[tuple[str, str]]:
    """What keeps a declaration from being worked with: the key, and what it must be."""
    if not instance.name.replace("-", "").replace("_", "").isalnum() or not instance.name.isascii():
        yield "name", "must be letters, digits, hyphens and underscores"
    if not instance.title.strip():
        yield "title", "must say in a few words what the instance does"
    if not instance.languages:
        yield "languages", 'must name at least one language, or "*" for any'
    yield from _edge_faults(instance)
    for name, agent in instance.agents.items():
        yield from ((f"agents.{name}.{key}", why) for key, why in _agent_faults(name, agent))
    yield from _executing_faults(instance)


def _edge_faults(instance: Instance) -> Iterator[tuple[str, str]]:
    for edge in fields(Routes):
        target: Place = getattr(instance.edges, edge.name)
        if target not in WALKABLE[edge.name]:
            yield f"edges.{edge.name}", f"must lead to {_either(WALKABLE[edge.name])}, not to {target}"
    reached = _reached(instance.edges)
    for place in _AGENTS:
        if place in reached and place not in instance.agents:
            yield f"agents.{place}", "is missing, and an edge leads to it"
    for name in instance.agents:
        if name not in _AGENTS:
            yield f"agents.{name}", f"is no place that an agent can have: use {_either(_AGENTS)}"
        elif Place(name) not in reached:
            yield f"agents.{name}", "is there, but no edge leads to it"


def _reached(edges: Routes) -> set[Place]:
    """The places that a session can come to."""
    from_request = {edges.request, edges.lead, edges.worker, edges.words, edges.error}
    return from_request | {edges.redo, edges.further_edit, edges.planner}


def _agent_faults(name: str, agent: AgentPart) -> Iterator[tuple[str, str]]:
    if not 1 <= agent.answer.longest <= _LONGEST:
        yield "answer.longest", f"must be 1 to {_LONGEST}"
    if not 1 <= agent.answer.items <= 8:
        yield "answer.items", "must be 1 to 8"
    if name in ROLES and agent.signature:
        role = ROLES[name]
        inputs, outputs = _split(agent.signature)
        result = role.outputs[-1]
        if role.fixed and (inputs, outputs) != (role.inputs, role.outputs):
            yield "signature", f"must be {role.signature}"
        elif outputs not in (role.outputs, (result,)):
            yield "signature", f"must end with -> {result}, or with -> reasoning, {result}"
        elif not inputs or len(set(inputs)) < len(inputs) or not set(inputs) <= set(role.inputs):
            yield "signature", f"may take each of {', '.join(role.inputs)} once, and must take one"
    if name in ROLES and not ROLES[name].fixed and not agent.instructions.strip():
        yield "instructions", "must say what the agent is to do"


def _executing_faults(instance: Instance) -> Iterator[tuple[str, str]]:
    idle = instance.executing.by == "nothing"
    if idle != (instance.edges.worker is Place.USER):
        must = "user" if idle else "execute"
        yield "edges.worker", f'must lead to {must} where executing.by is "{instance.executing.by}"'
    if isinstance(instance.executing, Command):
        words = instance.executing.command
        if not words or not all(word and "\0" not in word for word in words):
            yield "executing.command", "must be the words of a command, one by one"


def _split(signature: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    inputs, _, outputs = signature.partition("->")
    return _names(inputs), _names(outputs)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _either(values: tuple[Place, ...]) -> str:
    *most, last = values
    return f"{', '.join(most)} or {last}" if most else str(last)
