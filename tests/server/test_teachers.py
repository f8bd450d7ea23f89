"""Teachers: names, what they refuse, and their failures in one sentence."""

from __future__ import annotations

import math
import socket

import pytest
from scripted_teacher import ScriptedTeacher, instruct

from dorpo.softlabels import TokenScore, spelling
from precision_shaking.sape.agents import Agents, ask
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.teachers import TeacherError, connect, parse_teacher
from precision_shaking.sape.wire import TeacherAccess


@pytest.mark.parametrize(
    ("text", "name", "base_url"),
    [
        ("embedded/smollm2", "embedded/smollm2", None),
        ("openai/gpt-4o", "openai/gpt-4o", None),
        ("openai/my-model@http://127.0.0.1:8000/v1", "openai/my-model", "http://127.0.0.1:8000/v1"),
        ("openai/org/model@v2@https://host/v1", "openai/org/model@v2", "https://host/v1"),
        (" groq/llama-3.1-8b ", "groq/llama-3.1-8b", None),
    ],
)
def test_a_teacher_is_a_name_and_perhaps_an_address(text, name, base_url):
    assert parse_teacher(text) == TeacherAccess(name, base_url)


@pytest.mark.parametrize("text", ["", "gpt-4o", "openai/", "/x", "openai/x@http://", "openai/a b", "a b/c"])
def test_what_is_no_teacher_is_said_in_a_sentence(text):
    with pytest.raises(TeacherError, match=r"write PROVIDER/MODEL"):
        parse_teacher(text)


def test_keys_are_never_shown():
    assert "sk-canary" not in repr(parse_teacher("openai/x", "sk-canary"))
    assert "sk-canary" not in repr(connect(parse_teacher("openai/x@http://127.0.0.1:1/v1", "sk-canary")))


async def put_question(teacher):
    exchange = Exchange([])
    inputs = {
        "step": "go",
        "current_script": "x",
        "change_request": "",
        "what_happened": "",
        "attempted_script": "",
    }
    lead = Agents.for_scripts().lead
    return await ask(lead, teacher, inputs, repeat=0, exchange=exchange, on_text=lambda _: None)


async def test_log_probabilities_are_asked_for_and_kept():
    with ScriptedTeacher({"lead": [instruct("go")]}) as server:
        teacher = connect(parse_teacher(server.teacher()))
        reply = await put_question(teacher)
    assert teacher.top_logprobs == 20
    assert spelling(reply.exchange.scores, reply.exchange.text)
    assert len(reply.exchange.scores[0].top) == 20


async def test_a_teacher_without_log_probabilities_is_asked_again_and_remembered():
    refusing = {"content": instruct("go"), "logprobs": "refuse"}
    with ScriptedTeacher({"lead": [refusing]}) as server:
        teacher = connect(parse_teacher(server.teacher()))
        replies = [await put_question(teacher), await put_question(teacher)]
        asked = [body.get("logprobs") for body in server.asked("lead")]
    assert asked == [True, None, None]
    assert teacher.top_logprobs is None
    assert [(reply.fields, reply.exchange.scores) for reply in replies] == [({"instruction": "go"}, ())] * 2


async def test_a_teacher_that_drops_them_silently_gives_hard_labels():
    with ScriptedTeacher({"lead": [{"content": instruct("go"), "logprobs": False}]}) as server:
        reply = await put_question(connect(parse_teacher(server.teacher())))
    assert reply.fields == {"instruction": "go"}
    assert reply.exchange.scores == ()


async def test_options_that_a_model_refuses_are_left_out():
    replies = [
        {"status": 400, "content": "Unsupported value: 'temperature' does not support 0.0 with this model"},
        {"status": 400, "content": "top_logprobs must be at most 5"},
        instruct("go"),
    ]
    with ScriptedTeacher({"lead": replies}) as server:
        teacher = connect(parse_teacher(server.teacher()))
        reply = await put_question(teacher)
        bodies = server.asked("lead")
    assert reply.fields == {"instruction": "go"}
    assert ["temperature" in body for body in bodies] == [True, False, False]
    assert [body["top_logprobs"] for body in bodies] == [20, 20, 5]


FAILURES = [
    ({"status": 401, "content": "bad key sk-canary12345"}, "refuses the API key"),
    ({"status": 404, "content": "The model `x` does not exist"}, "openai/scripted"),
    ({"status": 400, "content": "maximum context length is 10 tokens"}, "do not fit in the context"),
    ({"status": 400, "content": "nonsense sk-canary12345"}, "nonsense [key]"),
    ({"raw": "<html>log in to the hotel network</html>", "content": ""}, "perhaps a login page"),
    ({"status": 511, "content": "log in first"}, "perhaps a login page"),
    ({"status": 500, "content": "out of memory"}, "a fault of its own: out of memory."),
    ({"drop_after": 5, "content": instruct("go")}, "broke in the middle"),
]


@pytest.mark.parametrize(("reply", "sentence"), FAILURES)
async def test_failures_are_one_sentence(reply, sentence):
    with ScriptedTeacher({"lead": [reply]}) as server:
        teacher = connect(parse_teacher(server.teacher(), "sk-canary12345"))
        with pytest.raises(TeacherError) as failure:
            await put_question(teacher)
    message = str(failure.value)
    assert sentence in message
    assert "canary" not in message
    assert "\n" not in message
    assert len(message) < 300


async def test_a_server_that_is_not_there_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(TeacherError, match="cannot be reached") as failure:
            await put_question(connect(parse_teacher(f"openai/x@{url}")))
    assert url in str(failure.value)
    assert not failure.value.passing


async def test_a_key_of_the_environment_is_not_sent_to_another_address(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    with ScriptedTeacher({"lead": [instruct("go")]}) as server:
        await put_question(connect(parse_teacher(server.teacher())))
        assert "canary" not in str(server.requests)


def test_an_unknown_embedded_model_is_said_in_a_sentence():
    with pytest.raises(TeacherError, match="no embedded model"):
        connect(parse_teacher("embedded/nothing"))


def score(token: bytes, logprob: float = -0.5) -> TokenScore:
    return TokenScore(token, logprob, ((token, logprob),))


def test_soft_labels_are_kept_only_when_their_bytes_are_the_answers():
    tokens = [score(b"h\xc3"), score(b"\xa9!")]
    assert spelling(tokens, "hé!") == tokens
    assert spelling([*tokens, score(b"<|end|>")], "hé!") == tokens
    assert spelling(tokens, "he!") is None
    assert spelling(tokens[:1], "hé!") is None
    assert spelling([], "hé!") is None


@pytest.mark.parametrize("wrong", [math.nan, 1.0])
def test_what_is_no_log_probability_is_dropped(wrong):
    assert spelling([score(b"x", wrong)], "x") is None


def test_minus_infinity_and_its_stand_ins_are_log_probabilities():
    tokens = [score(b"x", -9999.0)]
    assert spelling(tokens, "x") == tokens
