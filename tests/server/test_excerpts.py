"""Planner and lead read an outline of a long script and the code they are asked about, within a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_teacher import ScriptedTeacher

from dorpo.rendering import MAX_WHOLE_LINES
from precision_shaking.sape.excerpts import excerpt_of
from tests.server.test_session_regions import ACCEPT, HELLO, HI, SCRIPT, STEP, asked_of, play

OUTLINED = f"This script has {len(SCRIPT.splitlines())} lines."


def test_of_a_long_script_all_parts_are_listed_and_those_in_question_shown():
    script = SCRIPT.replace("def part_40():", "@cache\nasync def part_40(first: int, *, much='x') -> int:")
    shown = excerpt_of(script, "Let Greeter.greet call part_40().")
    lines = shown.split("\n")
    assert len(lines) <= MAX_WHOLE_LINES
    assert lines[0] == f"This script has {len(script.splitlines())} lines. Its parts, with their lines:"
    assert "part_39 (lines 238-241): def part_39()" in lines
    assert "part_40 (lines 244-248): async def part_40(first: int, *, much='x') -> int" in lines
    assert "Greeter (lines 593-600): class Greeter" in lines
    outline, _, code = shown.partition("\n\n")
    assert all(f"part_{n} " in outline for n in range(98))
    assert "    total = 40\n" in code
    assert '        return "hi"' in code
    assert "import sys" in code
    assert "part_41 (" not in excerpt_of(script, "Let Greeter.greet say hello.").partition("\n\n")[2]
    assert code.count("```") % 2 == 0


def test_a_short_script_and_one_without_parts_are_whole():
    short, plain = "\n".join(SCRIPT.split("\n")[:340]) + "\n", "x = 1\n" * 1000
    assert excerpt_of(short, "part_3") == short
    assert excerpt_of(plain, "x") == plain
    assert excerpt_of(SCRIPT, "part_3", 10_000) == SCRIPT


def test_of_a_named_part_without_room_the_beginning_is_shown():
    long = "def small():\n    pass\n\n\ndef huge():\n" + "    x = 1\n" * 900
    shown = excerpt_of(long, "Let huge return x.")
    assert "\nand 7" in shown
    assert shown.endswith(" more lines")
    assert 160 < shown.count("    x = 1") < 175
    # One that nobody speaks of is listed only.
    assert "    x = 1" not in excerpt_of(long, "Let small return 1.")


def test_of_too_many_parts_the_relevant_ones_are_listed():
    many = "\n\n".join(f"def part_{n}():\n    return {n}\n" for n in range(1000))
    shown = excerpt_of(many, "Let part_999 return part_500().")
    assert len(shown.split("\n")) <= MAX_WHOLE_LINES
    assert "part_999 (lines 3997-3998): def part_999()" in shown
    assert "part_500 (lines" in shown
    assert "\nand 828 more\n" in shown


@given(st.integers(20, 400), st.sampled_from(["", "Greeter", "part_7 part_90", "total return class"]))
def test_the_budget_holds_and_nothing_is_random(limit, words):
    shown = excerpt_of(SCRIPT, words, limit)
    assert len(shown.split("\n")) <= limit
    assert shown == excerpt_of(SCRIPT, words, limit)


async def test_planner_and_lead_are_asked_so_and_the_worker_by_regions(tmp_path):
    redo = {"verdict": "redo", "words": "like part_77"}
    with ScriptedTeacher({**STEP, "worker": [HI, HELLO]}) as teacher:
        await play(tmp_path, teacher, redo, ACCEPT)
        [planner], leads = asked_of(teacher, "planner"), asked_of(teacher, "lead")
    asked = [messages[-1]["content"] for messages in (planner, *leads)]
    assert [OUTLINED in question for question in asked] == [True, True, True]
    # What the user said decides what is shown next.
    assert ["total = 77\n" in question for question in asked] == [False, False, True]


@pytest.mark.parametrize("limit", [10_000])
async def test_with_a_higher_limit_they_get_it_whole(tmp_path, limit):
    with ScriptedTeacher({**STEP, "worker": ["?"]}) as teacher:
        await play(tmp_path, teacher, max_whole_lines=limit)
        for agent in ("planner", "lead"):
            assert SCRIPT.strip("\n") in asked_of(teacher, agent)[0][-1]["content"]
