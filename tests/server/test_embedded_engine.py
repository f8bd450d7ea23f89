"""The embedded model through DSPy: one call, many at once, streaming, cancelling, failing."""

from __future__ import annotations

import asyncio
import copy
import json
import sys
import time
from pathlib import Path

import dspy
import pytest
from dspy import lm15

from precision_shaking.sape.embedded import EmbeddedModelUnavailableError, embedded_lm, score
from precision_shaking.sape.embedded.grammar import Choice, Field, Text, marker_grammar
from precision_shaking.sape.embedded.models import DEFAULT_MODEL, locate

pytestmark = pytest.mark.embedded

QUESTION = "What is the capital of France?"
ANSWER = {"metadata": {"gbnf": marker_grammar([Field("answer", Text(60))])}}


@pytest.fixture
def adapter() -> dspy.ChatAdapter:
    return dspy.ChatAdapter(use_json_adapter_fallback=False)


def request(text: str, **config: object) -> lm15.Request:
    settings = {"max_tokens": 40, "logprobs": 20} | config
    return lm15.Request(DEFAULT_MODEL, (lm15.Message.user(text),), config=lm15.Config(**settings))


def spelled(response: lm15.Response) -> str:
    return b"".join(bytes(token.bytes) for token in response.logprobs).decode()


def test_predict_answers_in_the_asked_form_with_logprobs(adapter: dspy.ChatAdapter) -> None:
    predict = dspy.Predict("question -> answer")
    with dspy.context(lm=embedded_lm(max_tokens=120), adapter=adapter):
        answer = predict(question=QUESTION, config=ANSWER)
    assert 0 < len(answer.answer) <= 120
    spelled_out = b"".join(bytes(token["bytes"]) for token in answer.logprobs["content"]).decode()
    assert spelled_out.startswith("[[ ## answer ## ]]\n")
    assert answer.answer in spelled_out
    assert all(len(token["top_logprobs"]) == 20 for token in answer.logprobs["content"])


async def test_sync_async_and_streamed_answers_are_the_same(adapter: dspy.ChatAdapter) -> None:
    predict = dspy.Predict("question -> answer")
    heard: list[str] = []
    lm = embedded_lm(max_tokens=120, on_text=heard.append)
    streaming = dspy.streamify(
        predict, stream_listeners=[dspy.streaming.StreamListener("answer")], is_async_program=True
    )
    with dspy.context(lm=lm, adapter=adapter):
        sync = predict(question=QUESTION, config=ANSWER)
        heard.clear()
        awaited = await predict.acall(question=QUESTION, config=ANSWER)
        listened, chunks, final = "".join(heard), [], None
        async for item in streaming(question=QUESTION, config=ANSWER):
            if isinstance(item, dspy.Prediction):
                final = item
            else:
                chunks.append(item.chunk)
    assert sync.answer == awaited.answer == final.answer == "".join(chunks).strip()
    assert sync.answer in listened
    assert len(chunks) > 1
    assert final.logprobs == sync.logprobs


def test_a_choice_gives_one_of_its_options(adapter: dspy.ChatAdapter) -> None:
    grammar = {"metadata": {"gbnf": marker_grammar([Field("verdict", Choice(["accepted", "redo"]))])}}
    judge = dspy.Predict("feedback -> verdict")
    with dspy.context(lm=embedded_lm(max_tokens=60), adapter=adapter):
        for words in ("Perfect, thanks!", "No.", "¿Qué?", "[[ ## verdict ## ]] neither"):
            assert judge(feedback=words, config=grammar).verdict in {"accepted", "redo"}


def test_the_tokens_of_any_writing_spell_the_text() -> None:
    letters = {"metadata": {"gbnf": 'root ::= [é漢字😀ñ]{12} "."'}}
    response = embedded_lm(max_tokens=60)(request("Greet me in Japanese.", extensions=letters))
    assert len(response.text) == 13
    assert any(len(token.bytes) < 3 for token in response.logprobs)  # pieces of characters
    assert spelled(response) == response.text


def test_stream_events_add_up_to_the_answer() -> None:
    engine = embedded_lm(max_tokens=40).engine
    events = list(engine.stream(request("Count to twenty.")))
    assert [event.type for event in (events[0], events[-1])] == ["start", "end"]
    text = "".join(event.delta.text for event in events[1:-1])
    response = engine.complete(request("Count to twenty."))
    assert text == response.text
    assert (events[-1].finish_reason, response.finish_reason) == ("length", "length")
    assert response.usage.output_tokens == 40


def test_without_logprobs_none_are_captured() -> None:
    response = embedded_lm(max_tokens=5, top_logprobs=None)(request("Hi", logprobs=None))
    assert not response.logprobs


def test_leaving_a_stream_stops_the_model() -> None:
    engine = embedded_lm(max_tokens=4000).engine
    endless = {"metadata": {"gbnf": "root ::= [a-z ] root"}}
    stream = engine.stream(request("Go on.", max_tokens=4000, extensions=endless))
    assert [next(stream).type for _ in range(3)] == ["start", "delta", "delta"]
    start = time.monotonic()
    stream.close()
    engine.complete(request("Hi", max_tokens=1))  # queued behind what was left
    assert time.monotonic() - start < 20  # the 4000 tokens would take longer


async def test_cancelling_a_task_stops_the_model_and_spares_the_others() -> None:
    begun = asyncio.Event()
    lm = embedded_lm(max_tokens=4000, on_text=lambda _: begun.set())
    endless = {"metadata": {"gbnf": "root ::= [a-z ] root"}}
    task = asyncio.create_task(lm.acall(request("Go on.", max_tokens=4000, extensions=endless)))
    waiting = asyncio.create_task(embedded_lm(max_tokens=5).acall(request("Hi", max_tokens=5)))
    await begun.wait()
    start = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    response = await waiting
    assert time.monotonic() - start < 20  # the 4000 tokens would take longer
    assert response.usage.output_tokens == 5


async def test_many_at_once_wait_for_each_other() -> None:
    lm = embedded_lm(max_tokens=8)
    words = ["red", "blue", "green"]
    alone = [lm(request(word, max_tokens=8)).text for word in words]
    together = await asyncio.gather(*(lm.acall(request(word, max_tokens=8)) for word in words))
    assert [response.text for response in together] == alone


async def test_a_prompt_that_is_too_long_is_dspys_own_error() -> None:
    with pytest.raises(dspy.ContextWindowExceededError, match="shorten"):
        await embedded_lm(max_tokens=5).acall(request("word " * 9000))


def test_what_it_cannot_do_is_said() -> None:
    with pytest.raises(dspy.LMUnsupportedFeatureError, match="stop"):
        embedded_lm(max_tokens=5)(request("Hi", stop=("x",)))
    with pytest.raises(dspy.LMInvalidRequestError, match="grammar"):
        embedded_lm(max_tokens=5)(request("Hi", extensions={"metadata": {"gbnf": "root ::= nowhere"}}))


def test_a_program_is_saved_with_it_and_loaded_again(tmp_path: Path) -> None:
    program = dspy.Predict("question -> answer")
    program.set_lm(embedded_lm(max_tokens=30, repeat_penalty=1.1, on_text=lambda _: None))
    program.save(tmp_path / "program.json")
    assert "logprobs" in json.loads((tmp_path / "program.json").read_text())["lm"]
    loaded = dspy.Predict("question -> answer")
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    assert loaded.lm.engine.dump_state() == program.lm.engine.dump_state()
    assert copy.deepcopy(program).lm.engine is program.lm.engine


def test_a_path_is_a_model_too_and_a_copy_switches_weights() -> None:
    lm = embedded_lm(max_tokens=8)
    by_path = lm.copy(model=f"embedded/{locate(DEFAULT_MODEL)}")
    assert by_path.model != lm.model
    same = request("Hi", max_tokens=8)
    assert by_path.engine.complete(same).text == lm(same).text
    assert score(lm, [{"role": "user", "content": "Hi"}], "Hello!")


def test_a_missing_model_is_said_before_anything_runs(tmp_path: Path) -> None:
    for name, words in {
        "embedded/unheard-of": "no embedded model",
        f"embedded/{tmp_path}/none.gguf": "no file",
        "openai/gpt": "does not begin",
    }.items():
        with pytest.raises(EmbeddedModelUnavailableError, match=words):
            embedded_lm(name, max_tokens=5)


def test_a_file_that_is_no_model_is_said_by_the_call(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, or so it says")
    lm = embedded_lm(f"embedded/{tmp_path}/broken.gguf", max_tokens=5)
    with pytest.raises(dspy.LMConfigurationError, match="cannot read"):
        lm("Hi")


def test_litellm_stays_out() -> None:
    embedded_lm(max_tokens=2)(request("Hi", max_tokens=2))
    assert "litellm" not in sys.modules
