"""Answers under a grammar: always readable, and nothing but what the grammar allows."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dorpo.rendering import parse_response, render_prompt, to_messages
from precision_shaking.sape.embedded.errors import InvalidGrammarError
from precision_shaking.sape.embedded.grammar import (
    Choice,
    Code,
    Content,
    Field,
    Lines,
    Text,
    marker_grammar,
    region_grammar,
)
from precision_shaking.sape.embedded.models import DEFAULT_MODEL
from precision_shaking.sape.embedded.probabilities import Tokens
from precision_shaking.sape.embedded.runtime import ModelOptions, Runtime
from precision_shaking.sape.embedded.sampling import Grammar, Settings
from precision_shaking.sape.embedded.worker import worker_for

SCRIPTS = [
    "def total(xs):\n    s = 0\n    for x in xs:\n        s += x\n    print(s)\n",
    "import sys\n\nprint(sys.argv)\n",
    'rows = [["a", 1], ["b", 2]]\nfor name, n in rows:\n    print(f"{name}: {n}")\n',
]
INSTRUCTIONS = ["Return the sum instead of printing it.", "Add a docstring.", "Explain [[ ## script ## ]]."]


def written(messages: list[dict[str, str]], grammar: str, **settings: object) -> tuple[str, str]:
    """Ask the model; the text and why it ended."""
    pieces: list[bytes] = []

    def work(runtime: Runtime) -> str:
        prompt = runtime.tokenizer.encode_chat(messages)
        how = Settings(grammar=grammar, **settings)  # type: ignore[arg-type] # kinds vary by test
        return runtime.generate(
            prompt, how, lambda decoded: pieces.append(runtime.tokenizer.piece(decoded.token))
        ).reason

    reason = worker_for(DEFAULT_MODEL, ModelOptions()).submit(work).future.result()
    return b"".join(pieces).decode(), reason


def matches(content: Content, text: str) -> bool:
    """Whether a field may hold the text and end there."""
    answer = f"[[ ## field ## ]]\n{text}\n\n[[ ## completed ## ]]"
    return accepts(marker_grammar([Field("field", content)]), answer)


def accepts(gbnf: str, answer: str) -> bool:
    """Whether a grammar allows this answer and its end."""

    def work(runtime: Runtime) -> bool:
        grammar = Grammar(runtime._library, runtime.tokenizer.vocabulary, gbnf)
        try:
            for token in runtime.tokenizer.encode(answer):
                if not grammar.allowed(_one(token)).size:
                    return False
                grammar.accept(token)
            return bool(grammar.allowed(_one(runtime.tokenizer.encode("<|im_end|>", special=True)[0])).size)
        finally:
            grammar.close()

    return worker_for(DEFAULT_MODEL, ModelOptions()).submit(work).future.result()


def counted(text: str) -> int:
    """The length of a bounded text: a bracket counts as one with the character after it."""
    return len(re.sub(r"\[.", "_", text, flags=re.DOTALL))


def _one(token: int) -> Tokens:
    return np.array([token], np.int32)


@pytest.mark.embedded
@pytest.mark.parametrize("instruction", INSTRUCTIONS)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_worker_answer_is_readable_or_cut_in_its_script(script: str, instruction: str) -> None:
    grammar = marker_grammar([Field("reasoning", Text(120)), Field("script", Code("python"))])
    text, reason = written(to_messages(render_prompt(instruction, script)), grammar, max_tokens=220)
    if reason == "length":
        assert "[[ ## script ## ]]\n```python\n" in text
        text += "\n```\n\n[[ ## completed ## ]]"
    answer = parse_response(text)
    assert 0 < counted(answer.reasoning) <= 120
    assert "```" not in answer.script.split("\n")


@pytest.mark.embedded
@pytest.mark.parametrize("seed", range(3))
def test_a_hot_model_is_held_to_the_form_too(seed: int) -> None:
    grammar = marker_grammar([Field("steps", Lines(3, 40)), Field("verdict", Choice(["redo", "accepted"]))])
    messages = [{"role": "user", "content": "What now?"}]
    text, reason = written(messages, grammar, temperature=1.8, top_p=1.0, seed=seed, max_tokens=300)
    assert reason == "stop"
    marker = re.compile(r"^\[\[ ## (\w+) ## \]\]\n?", re.MULTILINE)
    before, steps, items, verdict, choice, *end = marker.split(text)
    assert (before, steps, verdict, *end) == ("", "steps", "verdict", "completed", "")
    assert choice.strip() in {"redo", "accepted"}
    lines = items.removesuffix("\n\n").split("\n")
    assert len(lines) <= 3
    bullets = {re.match(r"- |(\d)\. ", line)[0] for line in lines}  # type: ignore[index] # the grammar's promise
    assert bullets == {"- "} or bullets == {f"{n + 1}. " for n in range(len(lines))}
    assert all(counted(line) <= 43 for line in lines)


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("content", "text", "allowed"),
    [
        (Text(), "x = [[1, 2], [3]]\nif a[b[c]]:\n\n    pass", True),
        (Text(), "[section]\nkey = é漢😀", True),
        (Text(), "[[[ 1 ]]]", True),
        (Text(), "a\n[[ ## b ## ]]\nc", False),
        (Text(), "a [[# b", False),
        (Text(), "a [[[ # b", False),
        (Text(), "", False),
        (Text(5), "abcde", True),
        (Text(5), "abcdef", False),
        (Text(5), "a[[b", False),
        (Code("python"), "```python\nx = 1\n```", True),
        (Code("python"), "```python\n\n\nd = {'`': [1]}\n[1]\n`\n``\n[\n```", True),
        (Code("python"), "```python\nx = 1\n```\nThis adds.", False),
        (Code("python"), "```python\n[[ ## completed ## ]]\n```", False),
        (Code("python"), "```python\n```", False),
        (Choice(["redo", "further_edit"]), "redo", True),
        (Choice(['a "quoted" \\ one']), 'a "quoted" \\ one', True),
        (Choice(["redo", "further_edit"]), "red", False),
        (Lines(2, 9), "1. one\n2. two", True),
        (Lines(2, 9), "- one", True),
        (Lines(2, 9), "1. one\n1. two", False),
        (Lines(2, 9), "- a\n- b\n- c", False),
        (Lines(2, 9), "- 1234567890", False),
    ],
)
def test_what_a_field_may_hold(content: Content, text: str, allowed: bool) -> None:
    assert matches(content, text) is allowed


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("regions", "allowed"),
    [
        (["main"], True),
        (["Store.open", "NEW after Store", "main"], True),
        (["NEW after hidden"], True),
        (["main"] * 6, True),
        (["hidden"], False),
        (["mai"], False),
        (["NEW after mai"], False),
        (["main"] * 7, False),
        ([], False),
    ],
)
def test_only_regions_that_are_there_can_be_written(regions: list[str], allowed: bool) -> None:
    names = ["main", "Store.open", "Store", "hidden"]
    gbnf = region_grammar(Field("reasoning", Text(50)), Code("python"), names[:2], names)
    fields = [f"[[ ## region {name} ## ]]\n```python\nx = [1]\n```" for name in regions]
    answer = "\n\n".join(["[[ ## reasoning ## ]]\nBecause.", *fields, "[[ ## completed ## ]]"])
    assert accepts(gbnf, answer) is allowed


@pytest.mark.embedded
def test_a_grammar_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidGrammarError, match="cannot be read"):
        written([{"role": "user", "content": "Hi"}], "root ::= nowhere")


@pytest.mark.parametrize(
    ("content", "name"),
    [(Text(0), "a"), (Text(1001), "a"), (Lines(2, 0), "a"), (Choice([]), "a"), (Text(), "a ## ]]")],
)
def test_nonsense_is_refused_before_the_model_sees_it(content: Content, name: str) -> None:
    with pytest.raises(ValueError, match=r"characters|options|name"):
        marker_grammar([Field(name, content)])
