"""Giving agents the programs that were optimised for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from dorpo.softlabels import TokenScore
from precision_shaking.sape.agents import Agent, Reply
from precision_shaking.sape.channel import Call, Channel
from precision_shaking.sape.exchange import Exchange, Messages
from precision_shaking.sape.optimizing.programs import ProgramError, load, without_leftovers

if TYPE_CHECKING:
    import dspy


def equip(agent: Agent, state: Mapping[str, Any]) -> Agent:
    """The agent with a program's instructions and examples.

    Raises:
        ProgramError: They are of another agent or version.
    """
    module = agent.module.deepcopy()
    try:
        module.load_state(_of_today(module, without_leftovers(state)))
        for predictor in module.predictors():
            # Rendered once here, so that nothing is found missing while a user waits.
            blank = dict.fromkeys(predictor.signature.input_fields, "")
            adapter = agent.adapter(agent.fields(reasons=True), Exchange([]), None)
            messages = adapter.format(predictor.signature, predictor.demos, blank)
            if not all(isinstance(message["content"], str) for message in messages):
                raise TypeError("a message is no text")
    except Exception as error:  # the file may hold anything
        raise ProgramError(f"The program of the {agent.name} does not fit this version.") from error
    return evolve(agent, module=module)


def _of_today(module: dspy.Module, state: dict[str, Any]) -> dict[str, Any]:
    """A state that the module can load; one of before its agent reasoned is a single predictor's.

    Of that, the instructions and the examples are taken: DSPy tells fields by their places, and there is one
    more of them now.

    Raises:
        ValueError: It is of another agent.
    """
    [(name, predictor)] = module.named_predictors()
    if "demos" not in state or name == "self":
        return state
    before, now = state["signature"], predictor.dump_state()
    others = [one for one in now["signature"]["fields"] if one["prefix"] != "Reasoning:"]
    if [one["prefix"] for one in before["fields"]] != [one["prefix"] for one in others]:
        raise ValueError("the fields are others")
    signature = {**now["signature"], "instructions": before["instructions"]}
    return {name: {**now, "demos": state["demos"], "signature": signature}}


@define
class EquippedChannel:
    """Asks agents with their programs; each is read once, when its agent is first asked of its teacher.

    Attributes:
        inner: The way to the teachers.
        instance: Whose agents they are.
        home: The user's data folder.
        warn: Told, in a line, of each program that cannot be used: the agent then works without.
    """

    inner: Channel
    instance: str
    home: Path
    warn: Callable[[str], None]
    _equipped: dict[tuple[str, str], Agent] = field(factory=dict, init=False)

    async def ask(self, call: Call) -> Reply:
        """See `Channel`."""
        key = (call.agent.name, call.teacher.name)
        if key not in self._equipped:
            self._equipped[key] = self._equip(call.agent, call.teacher.name)
        return await self.inner.ask(evolve(call, agent=self._equipped[key]))

    async def score(self, model: str, messages: Messages, response: str) -> Sequence[TokenScore]:
        """See `Channel`."""
        return await self.inner.score(model, messages, response)

    def _equip(self, agent: Agent, teacher: str) -> Agent:
        try:
            program = load(self.home, self.instance, agent.name, teacher)
            return agent if program is None else equip(agent, program.state)
        except ProgramError as error:
            self.warn(f"{error} The {agent.name} works without it.")
            return agent
