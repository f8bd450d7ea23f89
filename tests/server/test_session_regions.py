"""A session on a script that is too long to be written whole: asked, answered and stored by regions."""

from __future__ import annotations

import asyncio

import pytest
from scripted_teacher import ScriptedTeacher, answer, instruct, plan

from dorpo.region_rendering import REGION_SYSTEM_PROMPT
from dorpo.rendering import MAX_WHOLE_LINES, SYSTEM_PROMPT, read_answer, render_prompt, render_response
from precision_shaking.sape import events as e
from precision_shaking.sape.resuming import recall
from precision_shaking.sape.session import Session
from precision_shaking.sape.teachers import connect, parse_teacher
from precision_shaking.sape.vocabulary import Limits
from precision_shaking.sape.wire import StartParams
from precision_shaking.settings import Settings
from tests.server.play import ACCEPT, HURRIED, Play, one_sentence

PARTS = "\n\n".join(
    f"def part_{n}():\n    total = {n}\n    total += 1\n    return total\n" for n in range(98)
)
SCRIPT = (
    "import sys\n\n\n"
    + PARTS
    + '\n\nclass Greeter:\n    """Greets."""\n\n    def greet(self):\n        return "hi"\n\n'
    + '    def leave(self):\n        return "bye"\n\n\n'
    + 'if __name__ == "__main__":\n    print(Greeter().greet())\n'
)
INSTRUCTION = "Let Greeter.greet say hello."
STEP = {
    "planner": [plan("say hello")],
    "lead": [instruct(INSTRUCTION), instruct("Again."), instruct("More.")],
}


def greeting(word):
    return f'    def greet(self):\n        return "{word}"'


def worked(**regions):
    return answer(
        reasoning="I do.", **{f"region {name.replace('_in_', '.')}": c for name, c in regions.items()}
    )


GREET = "Greeter_in_greet"
HI, HELLO = worked(**{GREET: greeting("HI")}), worked(**{GREET: greeting("Hello")})
LEAVE = worked(Greeter_in_leave='    def leave(self):\n        return "Bye"')


def with_greeting(word):
    return SCRIPT.replace('return "hi"', f'return "{word}"')


async def play(tmp_path, teacher, *answers, script=SCRIPT, **more):
    played = Play(tmp_path, *answers)
    pool = [connect(parse_teacher(teacher.teacher("openai/t0")), HURRIED)]
    params = StartParams("greet.py", script, "say hello", tuple(t.access for t in pool), **more)
    played.session = Session(params, pool, played.store, played.hear)
    await asyncio.wait_for(played.session.run(), 30)
    return played


def asked_of(teacher, agent):
    return [body["messages"] for body in teacher.asked(agent)]


async def test_a_long_script_is_changed_by_regions_from_redo_to_an_amended_accept(tmp_path):
    assert SCRIPT.count("\n") > 590
    amended = with_greeting("Hello").replace('return "bye"', 'return "ciao"')
    answers = [
        {"verdict": "redo", "words": "not so loud"},
        {"verdict": "further_edit", "words": "leave too"},
        {**ACCEPT, "amended": amended},
    ]
    with ScriptedTeacher({**STEP, "worker": [HI, HELLO, LEAVE]}) as teacher:
        played = await play(tmp_path, teacher, *answers)
        workers, leads = asked_of(teacher, "worker"), asked_of(teacher, "lead")
    prompt = render_prompt(INSTRUCTION, SCRIPT)
    assert workers[0] == [
        {"role": "system", "content": REGION_SYSTEM_PROMPT},
        {"role": "user", "content": prompt},
    ]
    # Whole scripts are what is proposed, and only their regions are what is asked for and told.
    proposals = [event.script for event in played.of(e.ProposalReady)]
    both = with_greeting("Hello").replace('return "bye"', 'return "Bye"')
    assert proposals == [with_greeting("HI"), with_greeting("Hello"), both]
    assert [event.outcome for event in played.of(e.ProposalReady)] == ["ok"] * 3
    attempt = f"[[ ## region Greeter.greet ## ]]\n{greeting('HI')}\n"
    assert f"<attempt>\n{attempt}</attempt>" in workers[1][1]["content"]
    assert f"[[ ## attempted_script ## ]]\n{attempt}" in leads[1][1]["content"]
    assert "part_97: 4 lines, not shown\n" in workers[1][1]["content"]
    assert "total = 97" not in workers[1][1]["content"]
    rows = list(played.store.rows())
    assert [(row.reason, row.prompt, row.cycle) for row in rows] == [
        ("redo", prompt, 3),
        ("further_edit", prompt, 3),
        ("amended", prompt, 3),
    ]
    assert [row.rejected for row in rows[:2]] == [HI, HELLO]
    assert all(row.rejected_soft_labels for row in rows[:2])
    # The last answer was one about the script after the further edit; the row's is about the prompt's script.
    assert rows[2].rejected_soft_labels is None
    read = [read_answer(row.rejected, INSTRUCTION, SCRIPT).script for row in rows]
    assert read == proposals
    [chosen] = {row.chosen for row in rows}
    assert chosen.count("[[ ## region Greeter.") == 2
    assert read_answer(chosen, INSTRUCTION, SCRIPT).script == amended == played.events[-1].script
    assert played.query("SELECT status FROM step") == [("accepted",)]


async def test_an_accepted_answer_is_kept_as_it_was_written_with_its_soft_labels(tmp_path):
    with ScriptedTeacher({**STEP, "worker": [HELLO]}) as teacher:
        played = await play(tmp_path, teacher, ACCEPT, max_whole_lines=100)
    # Whoever resumes it asks in the same way.
    assert recall(played.store, played.session.uid).params.max_whole_lines == 100
    [row] = played.store.rows()
    assert (row.chosen, row.rejected) == (HELLO, None)
    assert row.prompt == render_prompt(INSTRUCTION, SCRIPT, 100) != render_prompt(INSTRUCTION, SCRIPT)
    assert row.chosen_soft_labels is not None
    said = {event.field for event in played.of(e.AgentText) if event.agent == "worker"}
    assert said == {"reasoning", "region Greeter.greet"}


async def test_an_amended_script_that_regions_cannot_say_is_a_whole_one(tmp_path):
    with ScriptedTeacher({**STEP, "worker": [HELLO]}) as teacher:
        played = await play(tmp_path, teacher, {**ACCEPT, "amended": "print(\n"})
    [row] = played.store.rows()
    assert row.chosen == render_response("I do.", "print(\n")


UNFIT = [
    (worked(Nobody="def Nobody(): pass"), "does not have"),
    (answer(reasoning="I do.", script='print("hello")'), "no region"),
    (worked(**{GREET: "    def greet(self:"}), "not valid"),
    (worked(**{GREET: '    def welcome(self):\n        return "hello"'}), "does not define"),
    (worked(**{GREET: greeting("hi") + "\n        # ... rest of the code unchanged ..."}), "left out"),
    (HELLO.removesuffix("[[ ## completed ## ]]"), "cut off"),
]


@pytest.mark.parametrize(("reply", "why"), UNFIT)
async def test_an_answer_that_does_not_fit_is_unreadable(tmp_path, reply, why):
    cut = {"content": reply, "finish_reason": "length"} if why == "cut off" else reply
    with ScriptedTeacher({**STEP, "worker": [cut, HELLO]}) as teacher:
        played = await play(tmp_path, teacher, ACCEPT)
    [said] = played.whys
    assert why in said
    assert one_sentence(said.replace("...", ""))
    assert played.rows() == [(HELLO, None)]


async def test_where_that_begins_is_the_sessions_setting(tmp_path):
    with ScriptedTeacher({**STEP, "worker": ["?"]}) as teacher:
        await play(tmp_path, teacher, max_whole_lines=10_000)
        assert asked_of(teacher, "worker")[0][0]["content"] == SYSTEM_PROMPT


async def test_a_script_that_grows_too_long_within_a_step_keeps_the_steps_form(tmp_path):
    short = 'def greet():\n    return "hi"\n\n\nprint(greet())\n'
    long = short.replace("\n\n\nprint", "\n\n\ndef more():\n    return 1\n\n\nprint").rstrip("\n")
    replies = [answer(reasoning="I do.", script=long), worked(greet='def greet():\n    return "hello"')]
    lead = [instruct(INSTRUCTION), instruct("Let greet say hello.")]
    with ScriptedTeacher({**STEP, "lead": lead, "worker": replies}) as teacher:
        more = {"verdict": "further_edit", "words": "more"}
        played = await play(tmp_path, teacher, more, ACCEPT, script=short, max_whole_lines=6)
    [row] = played.store.rows()
    assert row.prompt == render_prompt(INSTRUCTION, short)
    assert row.chosen == render_response("I do.", long.replace('"hi"', '"hello"'))
    assert row.chosen_soft_labels is None


def test_the_limit_is_everywhere_the_same():
    params = StartParams("a.py", "", "x", ())
    limits = {Limits().max_whole_lines, params.max_whole_lines, Settings().max_whole_lines}
    assert limits == {MAX_WHOLE_LINES}
