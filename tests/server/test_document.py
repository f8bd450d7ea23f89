"""A file as it is written back: only what changed is another."""

from __future__ import annotations

import time

from precision_shaking.document import like


def test_lines_that_stay_keep_their_ends_and_new_ones_get_the_usual():
    raw = "\ufeffone\r\ntwo\nthree\r\nfour\r\nfive"
    wanted = "one\ntwo\nnew\nthree\nfour\nfive\n"
    assert like(raw, wanted) == "\ufeffone\r\ntwo\nnew\r\nthree\r\nfour\r\nfive"


def test_a_last_line_without_an_end_gets_one_where_it_is_no_longer_the_last():
    assert like("one\ntwo", "one\ntwo\nthree\n") == "one\ntwo\nthree"


def test_a_large_file_full_of_blank_lines_is_written_at_once():
    lines = [line for number in range(8000) for line in (f"x{number} = {number}", "", "")]
    changed = [*lines[:100], "first", *lines[101:-100], "last", *lines[-99:]]
    started = time.process_time()
    assert like("\r\n".join(lines) + "\r\n", "\n".join(changed) + "\n") == "\r\n".join(changed) + "\r\n"
    assert time.process_time() - started < 5
