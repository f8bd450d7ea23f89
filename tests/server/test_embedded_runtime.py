"""The decode loop against the model itself: what it captures, reuses, stops and scores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest

from dorpo.rendering import render_prompt, render_response, to_messages
from dorpo.softlabels import agrees
from precision_shaking.sape.embedded import score, score_async
from precision_shaking.sape.embedded.errors import AbortedError, PromptTooLongError
from precision_shaking.sape.embedded.models import DEFAULT_MODEL, locate
from precision_shaking.sape.embedded.probabilities import TokenScores
from precision_shaking.sape.embedded.runtime import Decoded, Ending, ModelOptions, Runtime
from precision_shaking.sape.embedded.sampling import Settings
from precision_shaking.sape.embedded.worker import worker_for

pytestmark = pytest.mark.embedded

Result = TypeVar("Result")

SCRIPT = "def total(xs):\n    s = 0\n    for x in xs:\n        s += x\n    print(s)\n"
MESSAGES = to_messages(render_prompt("Add type hints.", SCRIPT))
# As long an answer as is asked for: the grammar forbids the end.
ENDLESS = "root ::= [a-z ] root"
# Seconds after which a test gives up waiting.
PATIENCE = 60


def run(work: Callable[[Runtime], Result]) -> Result:
    return worker_for(DEFAULT_MODEL, ModelOptions()).submit(work).future.result()


def decode(runtime: Runtime, **settings: object) -> tuple[list[Decoded], Ending]:
    decoded: list[Decoded] = []
    prompt = runtime.tokenizer.encode_chat(MESSAGES)
    ending = runtime.generate(prompt, Settings(**settings), decoded.append)  # type: ignore[arg-type] # by test
    return decoded, ending


def test_captured_logprobs_are_those_of_an_independent_softmax() -> None:
    import llama_cpp

    decoded, _ = run(lambda runtime: decode(runtime, max_tokens=40, top_logprobs=20))
    prompt = run(lambda runtime: runtime.tokenizer.encode_chat(MESSAGES))
    reference = llama_cpp.Llama(
        str(locate(DEFAULT_MODEL)),
        n_ctx=512,
        n_batch=ModelOptions().batch,
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        verbose=False,
    )
    try:
        reference.eval(prompt[:-1])
        for token in (prompt[-1], *(step.token for step in decoded[:-1])):
            reference.eval([token])
        logits = reference.scores[len(prompt) - 1 : reference.n_tokens].astype(np.float64)
    finally:
        reference.close()
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for row, step in zip(expected, decoded, strict=True):
        assert step.scores is not None
        assert step.scores.token == step.token == row.argmax()
        assert step.scores.logprob == pytest.approx(row[step.token], abs=1e-4)
        assert step.scores.top_logprobs == pytest.approx(np.sort(row)[::-1][:20], abs=1e-4)
        assert step.scores.top_logprobs == pytest.approx(row[step.scores.top_tokens], abs=1e-4)


def test_greedy_decoding_is_deterministic_whatever_was_in_the_context() -> None:
    first, ending = run(lambda runtime: decode(runtime, max_tokens=60))
    again, warm = run(lambda runtime: decode(runtime, max_tokens=60))
    run(
        lambda runtime: runtime.generate(
            runtime.tokenizer.encode("unrelated"), Settings(max_tokens=3), print_not
        )
    )
    cold, _ = run(lambda runtime: decode(runtime, max_tokens=60))
    tokens = [step.token for step in first]
    assert tokens == [step.token for step in again] == [step.token for step in cold]
    assert warm.reused == ending.prompt_tokens - 1


def test_a_prompt_that_begins_like_the_last_one_is_not_read_twice() -> None:
    def ask(runtime: Runtime, end: str) -> tuple[list[int], Ending]:
        tokens: list[int] = []
        prompt = runtime.tokenizer.encode(SCRIPT * 8 + end)
        ending = runtime.generate(prompt, Settings(max_tokens=30), lambda step: tokens.append(step.token))
        return tokens, ending

    run(lambda runtime: ask(runtime, "unlike"))
    cold, _ = run(lambda runtime: ask(runtime, "# now the other way"))
    run(lambda runtime: ask(runtime, "# something else"))
    warm, second = run(lambda runtime: ask(runtime, "# now the other way"))
    assert second.reused > 100
    assert second.reused % ModelOptions().batch == 0
    assert warm == cold


def print_not(_: Decoded) -> None:
    """Listen to nothing."""


def test_a_cut_answer_says_so() -> None:
    decoded, ending = run(lambda runtime: decode(runtime, max_tokens=5))
    assert (ending.reason, ending.tokens, len(decoded)) == ("length", 5, 5)


def test_the_end_of_the_context_cuts_too() -> None:
    small = worker_for(DEFAULT_MODEL, ModelOptions(context=256))
    decoded, ending = small.submit(lambda runtime: decode(runtime, grammar=ENDLESS)).future.result()
    assert ending.reason == "length"
    assert ending.prompt_tokens + len(decoded) == 256


def test_a_prompt_longer_than_the_context_is_refused() -> None:
    small = worker_for(DEFAULT_MODEL, ModelOptions(context=256))
    job = small.submit(lambda runtime: runtime.generate([1] * 256, Settings(), print_not))
    with pytest.raises(PromptTooLongError, match="256 tokens"):
        job.future.result()


def test_equal_options_share_a_model_and_others_do_not() -> None:
    shared = worker_for(DEFAULT_MODEL, ModelOptions())
    assert worker_for(DEFAULT_MODEL, ModelOptions()) is shared
    assert worker_for(DEFAULT_MODEL, ModelOptions(context=256)) is not shared


def test_an_answer_is_stopped_before_its_next_token() -> None:
    begun, tokens = threading.Event(), []

    def hear(token: Decoded) -> None:
        tokens.append(token)
        begun.set()

    job = worker_for(DEFAULT_MODEL, ModelOptions()).submit(
        lambda runtime: runtime.generate(
            runtime.tokenizer.encode_chat(MESSAGES), Settings(max_tokens=8000, grammar=ENDLESS), hear
        )
    )
    assert begun.wait(PATIENCE)
    job.cancel()
    written = len(tokens)
    with pytest.raises(AbortedError):
        job.future.result(timeout=PATIENCE)
    # One may have been decoded already.
    assert len(tokens) <= written + 1


def test_a_prompt_is_stopped_in_the_middle_and_the_next_one_is_none_the_worse() -> None:
    expected, _ = run(lambda runtime: decode(runtime, max_tokens=20))
    reading = threading.Event()
    prompt = run(lambda runtime: runtime.tokenizer.encode("lorem ipsum " * 1500))

    def work(runtime: Runtime) -> None:
        reading.set()
        runtime.generate(prompt, Settings(max_tokens=1), print_not)

    job = worker_for(DEFAULT_MODEL, ModelOptions()).submit(work)
    assert reading.wait(PATIENCE)
    job.cancel()
    with pytest.raises(AbortedError):
        job.future.result(timeout=PATIENCE)
    held = run(lambda runtime: len(runtime._held))
    assert held < len(prompt) - 1
    after, _ = run(lambda runtime: decode(runtime, max_tokens=20))
    assert [step.token for step in after] == [step.token for step in expected]


def test_a_queued_job_that_is_cancelled_never_runs() -> None:
    release, ran = threading.Event(), threading.Event()
    worker = worker_for(DEFAULT_MODEL, ModelOptions())
    blocker = worker.submit(lambda _: release.wait(30))
    queued = worker.submit(lambda _: ran.set())
    queued.cancel()
    release.set()
    assert blocker.future.result()
    run(lambda _: None)
    assert not ran.is_set()


def test_scoring_agrees_with_decoding() -> None:
    # Kernels round differently in batches; code shows the average of it, open-ended prose three times that.
    start = "import os\nimport sys\n\n\ndef read_file(path):\n"
    decoded: list[Decoded] = []

    def work(runtime: Runtime) -> list[TokenScores]:
        prompt = runtime.tokenizer.encode(start)
        runtime.generate(prompt, Settings(max_tokens=150, top_logprobs=20), decoded.append)
        return runtime.score(prompt, [step.token for step in decoded], 20)

    pairs = [(one, step.scores) for one, step in zip(run(work), decoded, strict=True) if step.scores]
    assert len(pairs) == 150
    difference = np.mean([abs(one.logprob - two.logprob) for one, two in pairs])
    assert difference < 0.02
    assert np.mean([one.top_tokens[0] == two.top_tokens[0] for one, two in pairs]) > 0.95


def test_scores_of_a_text_spell_it_and_prefer_the_sensible_one() -> None:
    sensible = render_response("Add hints, é漢😀.", SCRIPT.replace("(xs)", "(xs: list[int]) -> None"))
    scrambled = render_response("Add hints, é漢😀.", "".join(sorted(SCRIPT.replace("\n", ""))))
    good, bad = (score(DEFAULT_MODEL, MESSAGES, text) for text in (sensible, scrambled))
    assert agrees(good, sensible)
    assert all(len(one.top) == 20 and one.top[0][1] >= one.top[-1][1] for one in good)
    assert np.mean([one.logprob for one in good]) > np.mean([one.logprob for one in bad])


async def test_an_empty_text_has_no_scores_and_a_long_one_is_refused() -> None:
    assert await score_async(DEFAULT_MODEL, MESSAGES, "") == []
    with pytest.raises(PromptTooLongError, match="shorten"):
        await score_async(DEFAULT_MODEL, MESSAGES, "word " * 9000)
