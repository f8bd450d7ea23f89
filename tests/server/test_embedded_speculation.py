"""Decoding with a draft: the same answer, sooner; grammar, log-probabilities and cancelling hold as ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest

from dorpo.rendering import parse_response, render_prompt, render_response, to_messages
from precision_shaking.sape.adapter import WorkerAdapter
from precision_shaking.sape.agents import Agents
from precision_shaking.sape.embedded import embedded_lm
from precision_shaking.sape.embedded.errors import AbortedError
from precision_shaking.sape.embedded.grammar import Code, Field, Line, marker_grammar
from precision_shaking.sape.embedded.models import DEFAULT_MODEL
from precision_shaking.sape.embedded.runtime import Decoded, ModelOptions, Runtime
from precision_shaking.sape.embedded.sampling import Settings
from precision_shaking.sape.embedded.worker import worker_for
from precision_shaking.sape.exchange import Exchange

pytestmark = pytest.mark.embedded

Result = TypeVar("Result")

SCRIPT = """class Account:
    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("The amount must be positive.")
        self.balance += amount
        self.history.append(("deposit", amount))


account = Account("the club", 100)
account.deposit(50)
print(account.balance)
"""
BEFORE = SCRIPT.replace("the club", "nobody").replace("        self.history = []\n", "")
FENCED = f"```python\n{SCRIPT}```"
ASK = {"role": "user", "content": f"Write this script again.\n{FENCED}"}
# With an earlier turn that did it, the model copies; else it is too small to.
COPY = [ASK, {"role": "assistant", "content": FENCED}, ASK]
WORK = to_messages(render_prompt("Greet the club.", SCRIPT))
WORKER = marker_grammar((Field("reasoning", Line(80)), Field("script", Code("python"))))
UNCHANGED = render_response("", FENCED)
# Nats. Kernels for one token and for many round differently: what is a near-tie to one is to the other no
# further apart than scoring is from decoding.
NEAR_TIE, ROUNDING = 0.05, 0.25


def run(work: Callable[[Runtime], Result]) -> Result:
    return worker_for(DEFAULT_MODEL, ModelOptions()).submit(work).future.result()


def decode(messages: list[dict[str, str]], draft: str, **settings: object) -> list[Decoded]:
    decoded: list[Decoded] = []

    def work(runtime: Runtime) -> list[Decoded]:
        prompt, tokens = runtime.tokenizer.encode_chat(messages), runtime.tokenizer.encode(draft)
        how = Settings(top_logprobs=20, **settings)  # type: ignore[arg-type] # kinds vary by test
        runtime.generate(prompt, how, decoded.append, tokens)
        return decoded

    return run(work)


def text(decoded: list[Decoded]) -> str:
    return run(lambda runtime: b"".join(runtime.tokenizer.piece(step.token) for step in decoded)).decode()


def agree(alone: list[Decoded], drafted: list[Decoded]) -> int:
    """The length of the common beginning; asserts that where they part there was a near-tie."""
    for at, (one, other) in enumerate(zip(alone, drafted, strict=False)):
        if one.token != other.token:
            gaps = sorted([gap(one, other.token), gap(other, one.token)])
            assert gaps[0] < NEAR_TIE
            assert gaps[1] < ROUNDING
            return at
    assert len(alone) == len(drafted)
    return len(alone)


def gap(step: Decoded, token: int) -> float:
    """How much less likely the token was than the chosen one."""
    known = dict(zip(step.scores.top_tokens.tolist(), step.scores.top_logprobs.tolist(), strict=True))
    return step.scores.logprob - known[token]


@pytest.mark.parametrize("draft", [FENCED, f"```python\n{BEFORE}```", "unlike", SCRIPT * 3, "```" * 50])
def test_a_copy_is_the_one_without_a_draft(draft: str) -> None:
    alone, drafted = decode(COPY, "", max_tokens=160), decode(COPY, draft, max_tokens=160)
    assert agree(alone, drafted) > 20
    assert text(alone).startswith("```python\nclass Account:\n")


@pytest.mark.parametrize(
    "instruction", ["Add a withdraw method.", "Rename deposit.", "Return, do not print."]
)
def test_a_workers_answer_is_the_one_without_a_draft_and_in_the_grammar(instruction: str) -> None:
    messages = to_messages(render_prompt(instruction, SCRIPT))
    alone, drafted = (decode(messages, draft, max_tokens=300, grammar=WORKER) for draft in ("", UNCHANGED))
    agree(alone, drafted)
    written = text(drafted)
    if len(drafted) == 300:
        assert "[[ ## script ## ]]\n```python\n" in written
    else:
        assert parse_response(written).script


def test_a_grammar_wins_over_the_draft() -> None:
    drafted = decode(COPY, FENCED, max_tokens=60, grammar='root ::= "```python\\nclass " [B-Z]{8} "."')
    assert text(drafted).startswith("```python\nclass ")
    assert len(text(drafted)) == len("```python\nclass ") + 9


def test_every_token_is_the_likeliest_of_its_own_forecast() -> None:
    drafted = decode(COPY, f"```python\n{BEFORE}```", max_tokens=150)
    assert all(step.token == step.scores.token == step.scores.top_tokens[0] for step in drafted)


def test_its_logprobs_are_those_of_decoding_one_by_one() -> None:
    alone, drafted = decode(COPY, "", max_tokens=150), decode(COPY, FENCED, max_tokens=150)
    same = agree(alone, drafted)
    pairs = [(one.scores, other.scores) for one, other in zip(alone[:same], drafted, strict=False)]
    differences = [abs(one.logprob - other.logprob) for one, other in pairs]
    assert np.mean(differences) < 0.02
    assert np.max(differences) < 0.5
    assert all(len(other.top_tokens) == 20 for _, other in pairs)


def test_a_cut_answer_has_no_more_tokens_than_asked_for() -> None:
    for limit in (1, 2, 9, 40):
        assert len(decode(COPY, FENCED, max_tokens=limit)) == limit


def test_it_is_deterministic_whatever_was_asked_before() -> None:
    first = decode(COPY, FENCED, max_tokens=120)
    warm = decode(COPY, FENCED, max_tokens=120)
    decode(WORK, UNCHANGED, max_tokens=50, grammar=WORKER)
    cold = decode(COPY, FENCED, max_tokens=120)
    tokens = [step.token for step in first]
    assert tokens == [step.token for step in warm] == [step.token for step in cold]
    assert [step.scores.logprob for step in first] == [step.scores.logprob for step in cold]


def test_a_draft_changes_nothing_above_a_temperature_of_zero() -> None:
    hot = {"temperature": 0.8, "seed": 5, "max_tokens": 60}
    alone, drafted = decode(COPY, "", **hot), decode(COPY, FENCED, **hot)
    assert [step.token for step in alone] == [step.token for step in drafted]


def test_it_takes_a_fraction_of_the_passes() -> None:
    def passes(draft: str) -> int:
        def work(runtime: Runtime) -> int:
            prompt, tokens = runtime.tokenizer.encode_chat(COPY), runtime.tokenizer.encode(draft)
            return runtime.generate(prompt, Settings(max_tokens=120), lambda _: None, tokens).passes

        return run(work)

    assert passes("") > 100
    assert passes(FENCED) < 20


def test_it_is_stopped_before_its_next_pass() -> None:
    begun, tokens, options = threading.Event(), [], ModelOptions()

    def hear(token: Decoded) -> None:
        tokens.append(token)
        begun.set()

    def work(runtime: Runtime) -> None:
        prompt = runtime.tokenizer.encode_chat(COPY)
        endless = Settings(max_tokens=6000, grammar='root ::= "a" root')
        runtime.generate(prompt, endless, hear, runtime.tokenizer.encode("a" * 8000))

    job = worker_for(DEFAULT_MODEL, options).submit(work)
    assert begun.wait(60)
    job.cancel()
    written = len(tokens)
    with pytest.raises(AbortedError):
        job.future.result(timeout=60)
    # What one pass decodes may have been decoded already.
    assert len(tokens) <= written + options.batch


def test_the_worker_hands_its_script_on_as_the_draft() -> None:
    worker, exchange, lm = Agents.for_scripts().worker, Exchange(WORK), embedded_lm(max_tokens=20)
    adapter = WorkerAdapter(worker.shape, exchange)
    draft = adapter.draft({"instruction": "Greet the club.", "current_script": SCRIPT})
    request = adapter._request(lm, {"max_tokens": 20}, draft)
    assert request.config.extensions["metadata"].keys() == {"gbnf", "draft"}
    assert request.config.extensions["metadata"]["draft"] == UNCHANGED
    assert lm(request).text.startswith("[[ ## reasoning ## ]]\n")
