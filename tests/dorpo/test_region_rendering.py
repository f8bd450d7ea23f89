"""Long documents: asked about by regions, answered in regions, and read back exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.markers import marker
from dorpo.region_rendering import REGION_SYSTEM_PROMPT, parse_regions, render_changes
from dorpo.rendering import (
    MAX_WHOLE_LINES,
    UnreadableAnswerError,
    read_answer,
    region_request,
    render_answer,
    render_prompt,
    render_response,
    to_messages,
)
from dorpo.splicing import Change

SCRIPT = """import os


def alpha(path):
    return os.listdir(path)


class Store:
    kind = 1

    def open_it(self):
        return alpha(".")

    def close(self):
        pass


if __name__ == "__main__":
    Store().open_it()
"""


def answered(*fields, reasoning="why"):
    parts = [f"{marker('reasoning')}\n{reasoning}"]
    parts += [f"{marker('region ' + name)}\n{code}" for name, code in fields]
    return "\n\n".join([*parts, marker("completed")])


def read(text, instruction="Change alpha and Store.", limit=10, **more):
    return read_answer(text, instruction, SCRIPT, limit, **more)


def test_only_what_is_too_long_is_asked_about_by_regions():
    assert MAX_WHOLE_LINES == 350
    assert region_request("x", "def f():\n" + "    a = 1\n" * 349) is None
    assert region_request("x", "def f():\n" + "    a = 1\n" * 350) is not None
    assert region_request("x", "a = 1\n" * 400) is None
    assert "whole changed script" in render_prompt("x", "a = 1\n" * 400)


def test_worker_and_student_are_asked_in_the_same_words():
    prompt = render_prompt("Make alpha sort.", SCRIPT, 17)
    assert prompt == (
        "[[ ## outline ## ]]\nmodule head: 1 line\nalpha: 2 lines\nStore: 8 lines, not shown\n"
        "head of Store: 2 lines, not shown\nStore.open_it: 2 lines\nStore.close: 2 lines, not shown\n"
        "code after Store: 2 lines, not shown\n\n"
        "[[ ## region module head ## ]]\n```\nimport os\n```\n\n"
        "[[ ## region alpha ## ]]\n```\ndef alpha(path):\n    return os.listdir(path)\n```\n\n"
        '[[ ## region Store.open_it ## ]]\n```\n    def open_it(self):\n        return alpha(".")\n```\n\n'
        "[[ ## instruction ## ]]\nMake alpha sort.\n\nWrite the regions that change, and no others."
    )
    system, user = to_messages(prompt)
    assert system == {"role": "system", "content": REGION_SYSTEM_PROMPT}
    assert user == {"role": "user", "content": prompt}


@pytest.mark.parametrize(
    ("instruction", "shown"),
    [
        ("Change Store.close.", ["Store.close"]),
        ("Let `close` close.", ["Store.close"]),
        ("Call close() first.", ["Store.close"]),
        ("Rename open_it to start.", ["Store.open_it"]),
        ("Please close the file.", []),
        ("Rewrite Store and alpha.", ["alpha", "Store"]),
        ("Use alphabet.", []),
    ],
)
def test_what_the_instruction_names_is_shown_however_long(instruction, shown):
    request = region_request(instruction, SCRIPT, 10 if "Store and" in instruction else 1)
    assert [region.name for region in request.shown if region.name != "module head"] == shown


def test_what_shares_words_with_the_instruction_comes_before_the_rest():
    request = region_request("List the path.", SCRIPT, 11)
    assert [region.name for region in request.shown] == ["module head", "alpha"]


def test_an_answer_is_put_into_the_document():
    text = answered(
        ("Store.close", "```python\n    def close(self):\n        return 1\n```"),
        ("alpha", "def alpha(path):\n    return beta(path)"),
        ("NEW after alpha", "\n\ndef beta(path):\n    return []\n"),
        ("DELETE code after Store", ""),
    )
    answer = read(text)
    assert answer.reasoning == "why"
    assert answer.script == SCRIPT.replace("os.listdir(path)", "beta(path)").replace(
        "\n\n\nclass", "\n\n\ndef beta(path):\n    return []\n\n\nclass"
    ).replace("        pass", "        return 1").replace(
        '\n\n\nif __name__ == "__main__":\n    Store().open_it()', ""
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no reasoning"),
        (render_response("why", "x = 1"), "no region"),
        (answered(), "no region"),
        (answered(("alpha", "def alpha(): pass"), reasoning=" "), "reasoning is empty"),
        (answered(("alpha", "def alpha(): pass")).removesuffix(marker("completed")), "cut off"),
        (answered(("alpha", "")), "no code"),
        (answered(("DELETE alpha", "x = 1")), "gives code"),
        (answered(("beta", "def beta(): pass")), "does not have"),
        (answered(("alpha", "def beta(): pass")), "does not define"),
        (answered(("alpha", "def alpha(:")), "not valid"),
        (answered(("alpha", "def alpha(): pass"), ("alpha", "def alpha(): pass")), "twice"),
    ],
)
def test_an_answer_that_does_not_fit_says_why_in_one_sentence(text, why):
    with pytest.raises(UnreadableAnswerError, match=why) as error:
        read(text)
    assert str(error.value).count(". ") == 0


def test_what_was_not_shown_cannot_be_rewritten():
    with pytest.raises(UnreadableAnswerError, match="without having seen"):
        read(answered(("Store.close", "    def close(self): pass")), "Change alpha.", limit=1)


def test_a_forgotten_end_is_forgiven_when_the_model_stopped_by_itself():
    text = answered(("alpha", "def alpha(): pass")).removesuffix(marker("completed"))
    assert "def alpha(): pass" in read(text, ended=True).script


def test_an_amended_script_is_an_answer_in_regions():
    amended = SCRIPT.replace("        pass", "        return 2")
    text = render_answer("why", amended, SCRIPT, 10)
    assert text == answered(("Store.close", "    def close(self):\n        return 2"))
    assert read(text).script == amended


def test_where_regions_cannot_say_it_the_answer_is_the_whole_script():
    assert render_answer("why", "x = (\n", SCRIPT, 10) == render_response("why", "x = (\n")
    assert render_answer("why", "x = 1\n", "x = 2\n", 10) == render_response("why", "x = 1\n")


@pytest.mark.parametrize("name", ["completed", "region alpha", "reasoning", "script"])
def test_markers_in_strings_are_not_markers(name):
    code = f'def alpha():\n    return """\n{marker(name)}\n```\n"""'
    changes = [Change("alpha", code), Change("Store", code, new=True)]
    text = f"{marker('reasoning')}\nwhy\n\n{render_changes(changes)}\n\n{marker('completed')}"
    assert parse_regions(text) == ("why", changes)


codes = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=12)
    | st.sampled_from(["```", "~~~", marker("completed"), marker("region a"), "", "    x", "\tx", "\x0c"]),
    min_size=1,
    max_size=6,
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b.c", "code after a"]), codes, st.booleans()), min_size=1))
def test_rendered_changes_are_read_back_exactly(given_changes):
    changes = []
    for name, lines, new in given_changes:
        code = "\n".join(["x", *lines, "y"])
        changes.append(Change(name, code, new))
    text = f"{marker('reasoning')}\nwhy\n\n{render_changes(changes)}\n\n{marker('completed')}"
    assert parse_regions(text) == ("why", changes)
