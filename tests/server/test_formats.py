"""Answers in the marker format: whole, in pieces, and with code left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.rendering import parse_response, render_response
from precision_shaking.sape.formats import FieldStream, omissions, read_items, split_fields

ANSWER = "hm\n\n" + render_response("Because.\n\nIndeed.", "x = [[1]]\n\n\nprint(x)") + "\n"


def test_fields_are_split_and_trimmed():
    assert split_fields(ANSWER) == {
        "reasoning": "Because.\n\nIndeed.",
        "script": "x = [[1]]\n\n\nprint(x)",
        "completed": "",
    }


def test_a_field_may_begin_on_its_markers_line_and_only_the_first_counts():
    text = "[[ ## verdict ## ]] redo\n[[ ## verdict ## ]]\naccepted\n"
    assert split_fields(text) == {"verdict": "redo"}


def test_a_text_without_markers_has_no_fields():
    assert split_fields("I think you should accept.") == {}


@pytest.mark.parametrize(
    "text",
    [
        '["a b", "c"]',
        "1. a b\n2. c",
        "- a b\n\n- c\n",
        "* a b\n* c",
        "a b\nc",
        "Step 1: a b\nStep 2: c",
        "1) a b\n2) c",
    ],
)
def test_lists_are_read_however_they_are_written(text):
    assert read_items(text) == ["a b", "c"]


def test_what_only_says_that_a_step_is_one_is_left_out():
    said = "1. The first step is to use sum.\n2. The second step is to use sum.\n3. The first step is to "
    assert read_items(said) == ["Use sum.", "Use sum.", "The first step is to"]


def test_an_empty_list_is_empty():
    assert read_items(" \n ") == read_items("[]") == read_items('["", " "]') == []


def pieces_of(text: str, sizes: list[int]) -> dict[str, str]:
    stream, joined, at = FieldStream(), {}, 0
    for size in [*sizes, len(text)]:
        for name, piece in stream.feed(text[at : at + size]):
            joined[name] = joined.get(name, "") + piece
        at += size
    return joined


@given(st.lists(st.integers(0, 9), max_size=60))
def test_a_stream_says_the_same_however_it_is_cut(sizes):
    assert pieces_of(ANSWER, sizes) == {
        "reasoning": "Because.\n\nIndeed.",
        "script": "x = [[1]]\n\n\nprint(x)",
    }


@given(st.text(alphabet="ab [#]\n\t", max_size=60), st.lists(st.integers(0, 5), max_size=40))
def test_a_streamed_script_is_the_script_that_is_read(body, sizes):
    text = render_response("why", f"x{body}")
    if "[[ ##" in body:
        return
    script = parse_response(text).script
    assert pieces_of(text, sizes)["script"].rstrip() == script.rstrip()


def test_a_piece_is_said_at_once_when_it_cannot_become_a_marker():
    stream = FieldStream()
    stream.feed("[[ ## script ## ]]\n")
    assert stream.feed("pri") == [("script", "pri")]
    assert stream.feed("nt()") == [("script", "nt()")]
    assert stream.feed("\n[") == []
    assert stream.feed("1]\n") == [("script", "\n[1]")]


LEFT_OUT = [
    "# ... rest of the code unchanged ...",
    "# ... existing code ...",
    "# rest of the script remains the same",
    "    # Rest of your code here",
    "// ... other functions ...",
    "# ...",
    "/* rest of the code */",
    "# existing code here",
    "# (previous code unchanged…)",
    "# code omitted for brevity",
    "<!-- ... unchanged ... -->",
]


@pytest.mark.parametrize("line", LEFT_OUT)
def test_a_new_comment_instead_of_code_is_found(line):
    assert omissions("x = 1\n", f"x = 2\n{line}\n") == [line.strip()]
    assert omissions(f"x = 1\n{line}\n", f"x = 2\n    {line}\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "...",
        "def f(): ...",
        "# read the rest of the file",
        "# skip the remaining lines, they are comments",
        "# wait for the other threads...",
        "# the same for every class of error",
        'print("... rest of the code unchanged ...")',
        "# original price",
        "x = 1  # unchanged",
        "#!/usr/bin/env python",
    ],
)
def test_honest_lines_are_left_alone(line):
    assert omissions("x = 1\n", f"{line}\n") == []
