"""The current script as a predicted output: for those who take it and give no log-probabilities."""

from __future__ import annotations

from scripted_teacher import ScriptedTeacher, instruct, work

from dorpo.rendering import parse_response, region_request
from precision_shaking.sape.agents import Agents, ask
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.teachers import connect, parse_teacher
from tests.server.play import NEW, OLD
from tests.server.test_session_regions import HELLO, INSTRUCTION, SCRIPT

QUESTION = {"instruction": "Print hello.", "current_script": OLD}
REFUSED = {"status": 400, "content": "Unsupported parameter: 'prediction' is not supported with this model."}


async def bodies(replies, *questions, logprobs=False, agent="worker"):
    """What a teacher is sent when it is asked these questions."""
    with ScriptedTeacher({agent: replies}) as server:
        teacher = connect(parse_teacher(server.teacher()))
        if not logprobs:
            teacher.top_logprobs = None
        for inputs in questions:
            asked = getattr(Agents.for_scripts(), agent)
            reply = await ask(asked, teacher, inputs, repeat=0, exchange=Exchange([]), on_text=lambda _: None)
            assert reply.fields is not None
        return server.asked(agent)


async def test_a_teacher_of_hard_labels_gets_the_script_in_the_workers_own_format():
    [body] = await bodies([work(NEW)], QUESTION)
    assert body["prediction"]["type"] == "content"
    predicted = body["prediction"]["content"]
    assert parse_response(predicted.replace("## ]]\n\n", "## ]]\nwhy\n\n", 1)).script == OLD
    assert "logprobs" not in body


async def test_of_a_long_script_it_is_the_regions_that_are_shown():
    question = {"instruction": INSTRUCTION, "current_script": SCRIPT}
    [body] = await bodies([HELLO], question)
    shown = region_request(*question.values()).code()
    assert all(code in body["prediction"]["content"] for code in shown.values())
    assert "def part_97" in SCRIPT
    assert len(body["prediction"]["content"]) < len(SCRIPT)


async def test_beside_log_probabilities_it_is_not_sent():
    [body] = await bodies([work(NEW)], QUESTION, logprobs=True)
    assert body["logprobs"] is True
    assert "prediction" not in body


async def test_once_log_probabilities_are_refused_it_is():
    refusing = {"content": work(NEW), "logprobs": "refuse"}
    sent = await bodies([refusing], QUESTION, QUESTION, logprobs=True)
    assert [("logprobs" in body, "prediction" in body) for body in sent] == [
        (True, False),
        (False, True),
        (False, True),
    ]


async def test_a_teacher_that_refuses_it_is_asked_without_from_then_on():
    sent = await bodies([REFUSED, work(NEW)], QUESTION, QUESTION)
    assert ["prediction" in body for body in sent] == [True, False, False]


async def test_only_a_worker_repeats_what_it_was_given():
    inputs = {"step": "go", "current_script": OLD, "change_request": "", "what_happened": ""}
    [body] = await bodies([instruct("Print hello.")], inputs, agent="lead")
    assert "prediction" not in body
