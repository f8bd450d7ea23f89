"""Every agent reasons before it answers, is understood when it does not, and the embedded model need not."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from dorpo.cli import main
from dorpo.store import AGENTS
from precision_shaking.sape import events as e
from precision_shaking.sape.agents import Agents, ask
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.instances.catalogue import default
from precision_shaking.sape.instances.declaration import AgentPart
from precision_shaking.sape.optimizing.equipping import equip
from precision_shaking.sape.optimizing.programs import ProgramError
from precision_shaking.sape.teachers import connect, parse_teacher
from tests.server.play import NEW, Play

WHY = {agent: f"The {agent} has its reasons." for agent in AGENTS}
WORDS = {"words": "fine, keep it"}
THOUGHTFUL = {
    "planner": [plan("say hello", reasoning=WHY["planner"])],
    "lead": [instruct("Print hello.", WHY["lead"])],
    "worker": [work(NEW, WHY["worker"])],
    "analyzer": [verdict("accepted", WHY["analyzer"])],
}
CURT = {
    "planner": [plan("say hello")],
    "lead": [instruct("Print hello.")],
    "worker": THOUGHTFUL["worker"],
    "analyzer": [verdict("accepted")],
}
QUESTIONS = {
    "planner": {"change_request": "say hello", "current_script": "x", "goal": "say hello"},
    "lead": {"step": "say hello", "current_script": "x", "change_request": "", "what_happened": ""},
    "analyzer": {"step": "say hello", "feedback": "fine"},
}


async def test_every_agents_reasoning_is_asked_for_told_kept_and_exported(tmp_path, capsys):
    with ScriptedTeacher(THOUGHTFUL) as teacher:
        played = await Play(tmp_path, WORDS).run(teacher)
        asked = {agent: teacher.asked(agent) for agent in AGENTS}
    assert played.end == "done"
    said = dict.fromkeys(AGENTS, "")
    for event in played.of(e.AgentText):
        if event.field == "reasoning":
            said[event.agent] += event.text
    assert said == WHY
    for agent in AGENTS:
        [body] = asked[agent]
        assert "[[ ## reasoning ## ]]" in body["messages"][0]["content"]
        output = tmp_path / f"{agent}.jsonl"
        command = ["export", "--db", str(played.store.path), "--output", str(output), "--format", "trl"]
        assert main([*command, "--agent", agent]) == 0
        [line] = output.read_text("utf-8").splitlines()
        assert WHY[agent] in json.loads(line)["completion"][0]["content"]
    capsys.readouterr()


async def test_an_answer_that_skips_the_reasoning_is_an_answer(tmp_path):
    with ScriptedTeacher(CURT) as teacher:
        played = await Play(tmp_path, WORDS).run(teacher)
        assert [len(teacher.asked(agent)) for agent in AGENTS] == [1, 1, 1, 1]
    assert (played.end, played.whys) == ("done", [])


async def put(agent, teacher):
    exchange = Exchange([])
    inputs = QUESTIONS[agent.name]
    reply = await ask(agent, teacher, inputs, repeat=0, exchange=exchange, on_text=lambda _: None)
    return reply.fields, "\n".join(message["content"] for message in exchange.messages)


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_teacher_that_gains_nothing_is_not_asked_for_it(name):
    agent = getattr(Agents.for_scripts(), name)
    with ScriptedTeacher(CURT) as server:
        teacher = connect(parse_teacher(server.teacher()))
        teacher.reasons = False
        fields, asked = await put(agent, teacher)
    assert list(fields) == [agent.shape[0].name]
    assert "reasoning" not in asked


def test_every_teacher_but_the_embedded_model_is_asked_to_reason():
    assert connect(parse_teacher("openai/x", "key")).reasons


@pytest.mark.embedded
@pytest.mark.parametrize("name", ["planner", "lead"])
async def test_the_embedded_model_answers_directly_or_in_bounds(name):
    agent, teacher = getattr(Agents.for_scripts(), name), connect(parse_teacher("embedded/smollm2"))
    fields, asked = await put(agent, teacher)
    assert list(fields) == [agent.shape[0].name]
    assert "reasoning" not in asked
    teacher.reasons = True
    fields, _ = await put(agent, teacher)
    assert 0 < len(fields["reasoning"]) <= 300


def test_a_declaration_may_leave_the_reasoning_out():
    declared = default().agents
    assert declared["lead"].reasons("lead")
    lead = AgentPart("step -> instruction", "Say what to do.")
    agents = Agents.of(evolve(default(), agents={**declared, "lead": lead}))
    assert [agent.thought is None for agent in (agents.planner, agents.lead)] == [False, True]


# Programs from before


def bare(name, **changes):
    """The state of an agent's program as it was when the agent answered directly."""
    state = getattr(Agents.for_scripts(), name).module.predict.dump_state()
    fields = [field for field in state["signature"]["fields"] if field["prefix"] != "Reasoning:"]
    assert len(fields) == len(state["signature"]["fields"]) - 1
    return {**state, "signature": {"instructions": "Be kind.", "fields": fields}, **changes}


async def test_a_program_of_before_keeps_its_instructions_and_examples():
    shown = {"step": "say bye", "current_script": "y", "instruction": "Print bye."}
    lead = equip(Agents.for_scripts().lead, bare("lead", demos=[shown]))
    with ScriptedTeacher(THOUGHTFUL) as server:
        fields, _ = await put(lead, connect(parse_teacher(server.teacher())))
        [body] = server.asked("lead")
    assert fields == {"reasoning": WHY["lead"], "instruction": "Print hello."}
    system, question, example, last = [message["content"] for message in body["messages"]]
    assert system.startswith("Be kind.")
    assert "[[ ## reasoning ## ]]\none or two sentences" in system
    # The example is one of a question that did not ask for reasoning.
    assert "reasoning" not in question + example
    assert "Print bye." in example
    assert "Answer with `[[ ## reasoning ## ]]`, then `[[ ## instruction ## ]]`" in last


def test_a_program_of_another_agent_is_refused():
    with pytest.raises(ProgramError, match="does not fit this version"):
        equip(Agents.for_scripts().lead, bare("planner"))
