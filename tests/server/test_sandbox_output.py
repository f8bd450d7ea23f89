"""What a script prints, kept within bounds and made harmless."""

import time

from hypothesis import given
from hypothesis import strategies as st

from precision_shaking.sape.sandbox.output import BoundedBytes, readable


@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(1, 500))
def test_the_beginning_and_the_end_are_kept_whatever_the_pieces(pieces, limit):
    kept = BoundedBytes(limit)
    for piece in pieces:
        kept.add(piece)
    whole = b"".join(pieces)
    assert kept.total == len(whole)
    if len(whole) <= limit:
        assert kept.text() == readable(whole)
    else:
        head, tail = whole[: (limit + 1) // 2], whole[len(whole) - limit // 2 :]
        left_out = len(whole) - len(head) - len(tail)
        assert kept.text() == f"{readable(head)}\n[... {left_out} bytes left out ...]\n{readable(tail)}"


@given(st.binary())
def test_nothing_that_steers_a_terminal_is_left(data):
    assert not [c for c in readable(data) if c not in "\n\t" and (ord(c) < 32 or 127 <= ord(c) < 160)]


@given(st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_is_left_alone(text):
    assert readable(text.encode()) == text


def test_colours_titles_and_links_go_and_their_text_stays():
    assert (
        readable(b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b(Bend\r\n")
        == "red link end\n"
    )
    assert readable("a\u202eb\u2066c".encode()) == "abc"
    assert readable(b"10%\r20%\r") == "10%\n20%\n"


def test_hostile_sequences_take_no_time():
    started = time.process_time()
    for piece in (b"\x1b]", b"\x1b[", b"\x1bP", b"\x1b[0", b"\x1b"):
        readable(piece * 40_000)
    readable(b"\x1b[" + b"0" * 200_000)
    assert time.process_time() - started < 5
