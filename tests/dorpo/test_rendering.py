"""Prompts and answers: what is rendered is read back exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.rendering import (
    SYSTEM_PROMPT,
    Answer,
    UnreadableAnswerError,
    parse_response,
    render_prompt,
    render_response,
    to_messages,
)

FORM = "[[ ## reasoning ## ]]\n{reasoning}\n\n[[ ## script ## ]]\n{script}\n\n[[ ## completed ## ]]"


def plainly_readable(text: str) -> bool:
    return "[[ ##" not in text and "```" not in text and "~~~" not in text


lines = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30)
scripts = st.lists(lines, min_size=1, max_size=8).map("\n".join).filter(plainly_readable)
reasonings = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60).map(str.strip)


@given(reasonings.filter(bool).filter(plainly_readable), scripts)
def test_a_rendered_answer_is_read_back_exactly(reasoning: str, script: str) -> None:
    script = script.lstrip("\n")
    while script and not script.rsplit("\n", 1)[-1].strip(" \t\r"):
        script = script.rpartition("\n")[0]
    if script:
        assert parse_response(render_response(reasoning, script)) == Answer(reasoning, script + "\n")


@pytest.mark.parametrize(
    "script",
    [
        "\tif x:\n\t\tpass\n",
        "page = 1\x0cpage = 2\u2028still one line\n",
        "a = 1  \n\nb = 2\n",
        "text = '''\n[[ ## completed ## ]]\n'''\n",
        "text = '''\n[[ ## script ## ]]\n'''\n",
        "text = '[[ ## completed ## ]]'\n",
        '"""\n```python\nx\n```\n"""\n',
        "print('é', '\U0001f600')\r\nprint()\r\n"[:-2] + "\n",
    ],
)
def test_difficult_scripts_survive(script: str) -> None:
    assert parse_response(render_response("why", script)).script == script


@pytest.mark.parametrize("fence", ["```", "```python", "~~~py", "````python title"])
def test_a_fence_around_the_whole_script_is_taken_off(fence: str) -> None:
    closing = fence[: len(fence) - len(fence.lstrip("`~"))]
    text = FORM.format(reasoning="why", script=f"{fence}\nx = 1\n{closing}")
    assert parse_response(text).script == "x = 1\n"


def test_a_fence_inside_stays() -> None:
    script = "Title\n\n```\ncode\n```\n"
    assert parse_response(FORM.format(reasoning="why", script=script)).script == script


def test_words_around_the_fields_are_ignored() -> None:
    text = "Sure!\n" + FORM.format(reasoning="why", script="x = 1") + "\nHave fun."
    assert parse_response(text) == Answer("why", "x = 1\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no reasoning"),
        ("x = 1", "no reasoning"),
        ("[[ ## reasoning ## ]]\nwhy", "no script"),
        ("[[ ## script ## ]]\nx\n[[ ## reasoning ## ]]\nwhy\n[[ ## completed ## ]]", "no script"),
        ("[[ ## reasoning ## ]]\nwhy\n[[ ## script ## ]]\nx = ", "cut off"),
        (FORM.format(reasoning=" ", script="x"), "reasoning is empty"),
        (FORM.format(reasoning="why", script=" \n\n"), "script is empty"),
        (FORM.format(reasoning="why", script="```python\n```"), "script is empty"),
        ("say [[ ## reasoning ## ]] and [[ ## script ## ]]", "no reasoning"),
    ],
)
def test_unreadable_answers_say_why(text: str, reason: str) -> None:
    with pytest.raises(UnreadableAnswerError, match=reason):
        parse_response(text)


def test_a_forgotten_end_is_forgiven_when_the_model_stopped_by_itself() -> None:
    text = "[[ ## reasoning ## ]]\nwhy\n[[ ## script ## ]]\nx = 1"
    assert parse_response(text, ended=True) == Answer("why", "x = 1\n")


def test_a_fence_around_a_script_is_longer_than_any_in_it() -> None:
    assert "\n`````\nx = '````'\n`````\n" in render_prompt("Go.", "x = '````'\n")


def test_worker_and_student_are_asked_in_the_same_words() -> None:
    prompt = render_prompt("Print 2.", "print(1)\n\n")
    assert prompt == (
        "[[ ## current_script ## ]]\n```\nprint(1)\n```\n\n"
        "[[ ## instruction ## ]]\nPrint 2.\n\nWrite the whole changed script."
    )
    system, user = to_messages(prompt)
    assert system == {"role": "system", "content": SYSTEM_PROMPT}
    assert user == {"role": "user", "content": prompt}
