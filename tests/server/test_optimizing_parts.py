"""The pure parts of optimising: what is learned from, what is held out, what a score says, what is kept."""

from __future__ import annotations

import operator
import random
from itertools import product

import pytest
from scripted_teacher import ScriptedTeacher, work

from dorpo.store import HarvestedAttempt, HarvestedStep
from precision_shaking.sape.adapter import WorkerAdapter
from precision_shaking.sape.agents import Agents
from precision_shaking.sape.channel import Call, DirectChannel
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.optimizing.comparing import MIN_EXAMPLES, compare, interval
from precision_shaking.sape.optimizing.compiling import choose_demos
from precision_shaking.sape.optimizing.data import MIN_TRAIN, Example, Rejected, examples, split
from precision_shaking.sape.optimizing.equipping import EquippedChannel
from precision_shaking.sape.optimizing.metrics import judge, similarity
from precision_shaking.sape.optimizing.programs import Program, folder, load, save, without_leftovers
from precision_shaking.sape.teachers import connect, parse_teacher

BASE, NEW, LOUD = 'print("hi")\n', 'print("hello")\n', 'print("HELLO")\n'


def attempt(cycle, **more):
    given = {
        "cycle": cycle,
        "author": "worker",
        "cause": "first",
        "instruction": f"instruction {cycle}",
        "base_script": BASE,
        "reasoning": "why",
        "script": LOUD,
        "output": "",
        "words": "",
        "verdict": None,
        "decided_by": None,
        "reason": None,
        "chosen": False,
    }
    return HarvestedAttempt(**{**given, **more})


def step(*attempts, n=0, session="s", status="accepted"):
    return HarvestedStep(
        session, n, "greet.py", "python", "greet", BASE, f"say hello {n}", status, tuple(attempts)
    )


def one(session, number=0, text="", **outputs):
    return Example(session, number, {"text": text or f"{session} {number}"}, outputs or {"script": NEW})


# What is learned


def test_the_worker_learns_the_accepted_script_of_the_first_cycles_prompt():
    found = examples(
        [
            step(
                attempt(1, reason="error", output="Traceback\nNameError: x"),
                attempt(2, reason="redo", words="not so loud", verdict="redo", decided_by="user"),
                attempt(3, script=NEW, chosen=True),
            )
        ]
    )
    [worker] = found["worker"]
    assert worker.inputs == {"instruction": "instruction 1", "current_script": BASE}
    assert worker.outputs == {"reasoning": "why", "script": NEW}
    assert [(one.reason, one.words) for one in worker.rejected] == [
        ("error", "Traceback\nNameError: x"),
        ("redo", "not so loud"),
    ]
    [lead] = found["lead"]
    assert lead.outputs == {"instruction": "instruction 3"}
    assert "not so loud" in lead.inputs["what_happened"]
    assert lead.inputs["attempted_script"] == LOUD
    [analyzer] = found["analyzer"]
    assert (analyzer.inputs["feedback"], analyzer.outputs) == ("not so loud", {"verdict": "redo"})
    [planner] = found["planner"]
    assert planner.outputs == {"steps": ["say hello 0"]}


def test_what_was_given_up_or_done_by_hand_teaches_less():
    given_up = examples([step(attempt(1), status="abandoned")])
    assert {agent: len(found) for agent, found in given_up.items()} == dict.fromkeys(given_up, 0)
    by_hand = examples([step(attempt(1, author="user", cause="by_hand", script=NEW, chosen=True))])
    assert [len(by_hand[agent]) for agent in ("planner", "lead", "worker", "analyzer")] == [1, 0, 1, 0]


def test_a_plan_counts_only_as_a_whole():
    accepted, given_up = step(attempt(1, chosen=True)), step(attempt(1), n=1, status="abandoned")
    assert examples([accepted, given_up])["planner"] == []


# What is held out


def places(found):
    return {example.session for example in found}


def test_a_session_is_never_on_both_sides():
    parts = split([one(f"s{n}", number) for n in range(10) for number in range(3)])
    assert parts.held_out
    assert not places(parts.train) & places(parts.held_out)
    assert len(parts.train) + len(parts.held_out) == 30


def test_one_session_is_not_divided():
    # However many steps it has, and however many feedbacks in each.
    parts = split([one("s", number, text=f"{number} {n}") for number in range(8) for n in range(2)])
    assert not parts.held_out
    assert not parts.enough


def test_the_same_question_is_never_on_both_sides():
    parts = split([one(f"s{n}", text=f"question {n // 2}") for n in range(12)])
    asked = [{example.inputs["text"] for example in side} for side in (parts.train, parts.held_out)]
    assert asked[1]
    assert not asked[0] & asked[1]


def test_what_the_program_in_use_was_made_of_is_not_held_out():
    found = [one(f"s{n}") for n in range(10)]
    first = split(found)
    seen = frozenset(example.place for example in first.train)
    assert split(found, seen).held_out == first.held_out
    everything = frozenset(example.place for example in found)
    assert not split(found, everything).enough


@pytest.mark.parametrize(("count", "enough"), [(0, False), (8, False), (9, True)])
def test_too_little_is_known(count, enough):
    parts = split([one(f"s{n}") for n in range(count)])
    assert parts.enough is enough
    assert len(parts.train) >= min(count, MIN_TRAIN)


def test_the_split_is_the_same_each_time():
    found = [one(f"s{n}") for n in range(10)]
    assert split(found) == split(found)
    assert places(split(found).held_out) == places(split(found[::-1]).held_out)


# What a score says

REDONE = Rejected(LOUD, "redo", "do not shout")
ASKED = Example("s", 0, {"current_script": BASE}, {"script": NEW, "reasoning": "why"}, (REDONE,))


@pytest.mark.parametrize(
    ("script", "error", "score", "said"),
    [
        (NEW, None, 1.0, "accepted"),
        (BASE, None, 0.0, "not changed"),
        (LOUD, None, 0.0, "do not shout"),
        ("print(1 / 0)", "ZeroDivisionError", 0.0, "ZeroDivisionError"),
    ],
)
def test_a_script_is_judged_with_the_users_words(script, error, score, said):
    judgement = judge("worker", ASKED, {"script": script}, error)
    assert judgement.score == score
    assert said in judgement.feedback


def test_another_script_is_as_good_as_it_is_like_the_accepted_one():
    near = judge("worker", ASKED, {"script": 'print("hello!")\n'})
    far = judge("worker", ASKED, {"script": "print(input())\n"})
    assert 0 < far.score < near.score < 1
    assert "do not shout" in near.feedback
    assert NEW.strip() in near.feedback


def test_a_verdict_is_right_or_wrong():
    asked = Example("s", 0, {"step": "x", "feedback": "no way"}, {"verdict": "redo"})
    assert judge("analyzer", asked, {"verdict": "redo"}).score == 1.0
    wrong = judge("analyzer", asked, {"verdict": "accepted"})
    assert wrong.score == 0.0
    assert "'no way' and meant redo" in wrong.feedback


def test_similarity_counts_words():
    assert similarity("a b c", "a b c") == 1.0
    assert similarity("a  b", "a b") == 1.0
    assert similarity("if x:\n    y", "if x:\n  y") < 1.0
    assert similarity("abc", "cba") == 0.0


@pytest.mark.parametrize(
    ("before", "after", "improved"),
    [
        ([0.0] * 6, [1.0] * 6, True),
        ([0.0] * 5, [1.0] * 5, False),
        ([0.5] * 40, [0.5] * 40, False),
        ([0.0] * 6, [1.0] * 5 + [0.0], False),
        ([0.0] * 7, [1.0] * 6 + [0.0], True),
        ([0.0] * 9 + [1.0] * 3, [1.0] * 7 + [0.0] * 5, False),
        ([0.0] * 30 + [1.0] * 10, [1.0] * 25 + [0.0] * 15, True),
        ([1.0] * 6, [0.0] * 6, False),
    ],
)
def test_only_what_luck_would_rarely_do_is_better(before, after, improved):
    found = compare(before, after)
    assert found.improved is improved
    assert found.low <= found.after - found.before <= found.high
    assert compare(before, after) == found


def test_the_interval_is_the_permutation_test_turned_round():
    """A change is in it as long as its sign-flip test does not reject it at 2.5 % on either side."""
    changes = [0.4, -0.1, 0.25, 0.3, 0.05, 0.6, -0.2, 0.35]
    low, high = interval(changes)
    for wanted in (low - 0.001, low + 0.001, high - 0.001, high + 0.001):
        rest = [change - wanted for change in changes]
        flips = [sum(map(operator.mul, rest, signs)) for signs in product((1, -1), repeat=len(rest))]
        above = sum(flip >= sum(rest) for flip in flips) / len(flips)
        below = sum(flip <= sum(rest) for flip in flips) / len(flips)
        assert (min(above, below) > 0.025) == (low <= wanted <= high)


def test_a_program_that_is_as_good_is_rarely_taken_for_better():
    draw = random.Random(1)  # noqa: S311 - always the same
    taken = 0
    for _ in range(400):
        scores = [[draw.random() for _ in range(MIN_EXAMPLES + 2)] for _ in range(2)]
        taken += compare(*scores).improved
    assert 0 < taken <= 400 * 0.05


def test_demos_show_every_verdict_and_stay_short():
    verdicts = ["redo"] * 9 + ["accepted", "further_edit"]
    train = [one(f"s{n}", verdict=word) for n, word in enumerate(verdicts)]
    assert {demo.outputs["verdict"] for demo in choose_demos(train, 3000)} == set(verdicts)
    assert choose_demos([one("s", text="x" * 5000)], 3000) == []


# Programs


def program(**more):
    given = {
        "instance": "script",
        "agent": "worker",
        "teacher": "a/b",
        "method": "few-shot",
        "state": {},
        "made_of": ("s/0",),
    }
    return Program(**{**given, "score": 0.5, "dspy": "3.4.1", **more})


def test_a_program_comes_back_and_the_one_before_it_is_kept(tmp_path):
    path = save(tmp_path, program())
    save(tmp_path, program(score=0.75))
    assert load(tmp_path, "script", "worker", "a/b") == program(score=0.75)
    assert path.with_name("previous.json").exists()
    assert sorted(file.name for file in path.parent.iterdir()) == ["current.json", "previous.json"]


def test_teachers_never_share_a_folder(tmp_path):
    names = ["a/b", "a-b", "a/b:c", "a/b c", "../../a", "a/" + "b" * 300]
    folders = {folder(tmp_path, "script", "worker", name) for name in names}
    assert len(folders) == len(names)
    assert all(place.parent == tmp_path / "programs" / "script-worker" for place in folders)


def test_no_model_and_no_log_probabilities_are_kept():
    state = {"predict": {"demos": [{"x": "y", "logprobs": [1]}], "signature": {}, "lm": {"model": "z"}}}
    cleaned = {"demos": [{"x": "y"}], "signature": {}, "lm": None, "traces": [], "train": []}
    assert without_leftovers(state) == {"predict": cleaned}


async def ask_twice(home, said):
    """What the worker was asked, each time."""
    with ScriptedTeacher({"worker": [work(NEW)]}) as server:
        teacher = connect(parse_teacher(server.teacher("openai/b")))
        channel = EquippedChannel(DirectChannel(), "script", home, said.append)
        inputs = {"instruction": "do", "current_script": BASE}
        for _ in range(2):
            worker = Agents.for_scripts().worker
            await channel.ask(Call(worker, teacher, inputs, 0, Exchange([]), lambda _: None))
        return [[message["role"] for message in body["messages"]] for body in server.asked("worker")]


@pytest.mark.parametrize("state", [{}, {"predict": {"demos": [{"x": 1}], "signature": {}}}])
async def test_a_program_that_does_not_fit_is_said_once(tmp_path, state):
    save(tmp_path, program(teacher="openai/b", state=state))
    said = []
    assert await ask_twice(tmp_path, said) == [["system", "user"]] * 2
    assert len(said) == 1
    assert "worker" in said[0]


async def test_without_a_program_nothing_is_said(tmp_path):
    said = []
    assert await ask_twice(tmp_path, said) == [["system", "user"]] * 2
    assert said == []


def test_optimised_instructions_do_not_take_the_form_from_the_worker():
    worker = Agents.for_scripts().worker
    (predictor,) = worker.module.predictors()
    adapter = WorkerAdapter(worker.shape, Exchange([]))
    inputs = {"instruction": "do", "current_script": BASE}
    plain = adapter.format(predictor.signature, [], inputs)[0]["content"]
    better = adapter.format(predictor.signature.with_instructions("Be brief."), [], inputs)[0]["content"]
    assert better == f"{plain}\n\nBe brief."
