import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types
from pygls.workspace import PositionCodec

from precision_shaking.lsp.documents import Document, normalise, plan_edits

CODEC = PositionCodec(types.PositionEncodingKind.Utf16)
PIECES = ["a", "b = '\U0001f600'", "\x0c", "\u2028", "\n", "\r\n", "\r", "\n\n"]
SOURCES = st.lists(st.sampled_from(PIECES), max_size=10).map("".join)


def _document(source):
    return Document("file:///script.py", source, 1, "python", position_codec=CODEC)


def _change(document, start, end, text):
    where = types.Range(types.Position(*start), types.Position(*end))
    document.apply_change(types.TextDocumentContentChangePartial(where, text))
    return document.source


@pytest.mark.parametrize("separator", ["\x0c", "\x0b", "\x1c", "\x85", "\u2028"])
def test_only_line_ends_of_the_protocol_count(separator):
    source = f"one\n{separator}two\nthree\n"
    assert _change(_document(source), (2, 0), (2, 5), "THREE") == f"one\n{separator}two\nTHREE\n"


def test_all_three_line_ends_count():
    assert _change(_document("a\rb\r\nc\nd"), (3, 0), (3, 1), "D") == "a\rb\r\nc\nD"


def test_characters_are_counted_as_the_client_does():
    assert _change(_document("x = '\U0001f600!'\n"), (0, 7), (0, 8), "?") == "x = '\U0001f600?'\n"


@pytest.mark.parametrize("column", [3, 4, 99])
def test_a_position_beyond_the_line_means_its_end(column):
    assert _change(_document("one\r\ntwo"), (0, column), (0, column), "!") == "one!\r\ntwo"
    assert _change(_document("one\ntwo"), (1, column), (1, column), "!") == "one\ntwo!"


def test_a_position_beyond_the_document_means_its_end():
    assert _change(_document("one\n"), (1, 0), (1, 0), "two\n") == "one\ntwo\n"
    assert _change(_document(""), (0, 0), (0, 0), "one") == "one"


def test_a_change_without_a_range_replaces_everything():
    document = _document("old")
    document.apply_change(types.TextDocumentContentChangeWholeDocument("new"))
    assert document.source == "new"


def test_edits_are_minimal():
    plan = plan_edits("a\nb\nc\nd\n", "a\nB\nc\nd\ne\n", CODEC)
    assert [(edit.range.start.line, edit.range.end.line, edit.new_text) for edit in plan.edits] == [
        (1, 2, "B\n"),
        (4, 4, "e\n"),
    ]


def test_a_document_that_is_right_needs_no_edit():
    assert plan_edits("a\r\nb\r\n", "a\nb\n", CODEC).edits == ()


def test_new_lines_end_as_the_documents_do():
    plan = plan_edits("a\r\nb\r\n", "a\nx\nb\n", CODEC)
    assert plan.expected == "a\r\nx\r\nb\r\n"
    assert plan.edits[0].new_text == "x\r\n"


@given(SOURCES, SOURCES)
def test_applying_the_edits_gives_the_wanted_text(source, other):
    wanted = normalise(other)
    plan = plan_edits(source, wanted, CODEC)
    document = _document(source)
    for edit in reversed(plan.edits):
        document.apply_change(types.TextDocumentContentChangePartial(edit.range, edit.new_text))
    assert document.source == plan.expected
    assert normalise(document.source) == wanted
