"""Calls of a teacher that fail (B5 to B10, B12); the answers that are wrong are in test_odd_answers."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from scripted_teacher import ScriptedTeacher, plan, work

from precision_shaking.sape import events as e
from precision_shaking.sape.retrying import Patience
from precision_shaking.sape.teachers import connect, parse_teacher
from tests.server.play import ACCEPT, KEY, NEW, ONE_STEP, one_sentence

BUSY = {"status": 429, "content": f"slow down, {KEY}"}
FAULT = {"status": 503, "content": "overloaded"}


async def test_b5_too_many_requests_are_followed_by_the_pause_that_was_asked_for(play):
    busy = {**BUSY, "headers": {"Retry-After": "0.3"}}
    with ScriptedTeacher({**ONE_STEP, "worker": [busy, busy, work(NEW)]}) as teacher:
        started = time.monotonic()
        played = await play(ACCEPT).run(teacher)
        assert time.monotonic() - started >= 0.6
    waits = played.of(e.TeacherWaiting)
    assert [(wait.teacher, wait.seconds) for wait in waits] == [("openai/t0", 0.3)] * 2
    assert "too many requests" in waits[0].why
    assert played.rows() == [(work(NEW), None)]
    assert played.query("SELECT status FROM agent_call WHERE agent = 'worker'") == [
        ("error",),
        ("error",),
        ("ok",),
    ]


async def test_b5_without_a_word_on_when_it_waits_longer_each_time_and_not_for_ever(play):
    with ScriptedTeacher({"planner": [BUSY]}) as teacher:
        played = await play().run(teacher)
        assert len(teacher.asked("planner")) == 5
    seconds = [wait.seconds for wait in played.of(e.TeacherWaiting)]
    assert len(seconds) == 4
    assert all(0.005 * 2**n <= wait <= 0.01 * 2**n for n, wait in enumerate(seconds))
    assert "too many requests" in played.end
    assert one_sentence(played.end)


async def test_b5_a_pause_longer_than_anybody_waits_brings_in_the_next_teacher(play):
    patient = {**BUSY, "headers": {"Retry-After": "7200"}}
    with (
        ScriptedTeacher({**ONE_STEP, "worker": [patient]}) as first,
        ScriptedTeacher({"worker": [work(NEW)]}) as second,
    ):
        played = await play(ACCEPT).run(first, second)
    assert played.of(e.TeacherWaiting) == []
    assert "7200 seconds" in played.whys[0]
    assert played.rows() == [(work(NEW), None)]


async def test_b5_a_stop_is_heard_during_the_pause(play):
    busy = {**BUSY, "headers": {"Retry-After": "60"}}
    with ScriptedTeacher({**ONE_STEP, "worker": [busy]}) as teacher:
        played = play()
        waiting = asyncio.Event()
        hear = played.hear

        def hear_and_tell(event):
            hear(event)
            if isinstance(event, e.TeacherWaiting):
                waiting.set()

        played.hear = hear_and_tell
        running = asyncio.create_task(played.run(teacher))
        await asyncio.wait_for(waiting.wait(), 60)
        played.session.stop()
        await asyncio.wait_for(running, 30)
    assert played.end == "abandoned"


async def test_b6_a_burst_of_server_faults_is_waited_out(play):
    with ScriptedTeacher({**ONE_STEP, "worker": [FAULT, FAULT, work(NEW)]}) as teacher:
        played = await play(ACCEPT).run(teacher)
    assert len(played.of(e.TeacherWaiting)) == 2
    assert played.whys == []
    assert played.rows() == [(work(NEW), None)]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_b6_three_server_faults_bring_in_the_next_teacher(play, status):
    with (
        ScriptedTeacher({**ONE_STEP, "worker": [{**FAULT, "status": status}]}) as first,
        ScriptedTeacher({"worker": [work(NEW)]}) as second,
    ):
        played = await play(ACCEPT).run(first, second)
        assert len(first.asked("worker")) == 3
    assert "fault of its own: overloaded." in played.whys[0]
    assert [event.teacher for event in played.of(e.TeacherSwitched)] == ["openai/t1"]
    assert played.rows() == [(work(NEW), None)]


@pytest.mark.parametrize("silence", [{"delay": 600}, {"stall_after": 30}])
async def test_b7_a_teacher_that_falls_silent_is_given_up(play, silence):
    with (
        ScriptedTeacher({**ONE_STEP, "worker": [{"content": work(NEW), **silence}]}) as first,
        ScriptedTeacher({"worker": [work(NEW)]}) as second,
    ):
        started = time.monotonic()
        played = await play(ACCEPT).run(first, second)
        assert time.monotonic() - started < 60
        assert len(first.asked("worker")) == 1
    assert "did not answer in time" in played.whys[0]
    assert played.rows() == [(work(NEW), None)]


async def test_b7_a_teacher_that_never_ends_is_given_up_too(play):
    slow = Patience(idle_seconds=20, total_seconds=0.5)
    with ScriptedTeacher({"planner": [{"content": plan("x"), "stall_after": 5}]}) as teacher:
        played = await play().run(teacher, patience=slow)
    assert "did not answer in time" in played.end
    assert one_sentence(played.end)


async def test_b8_a_connection_that_breaks_makes_the_whole_call_again(play):
    broken = {"content": work("import os"), "drop_after": 40}
    plans = [{"content": plan("say hello"), "drop_after": 12}, plan("say hello")]
    with ScriptedTeacher({**ONE_STEP, "planner": plans, "worker": [broken, work(NEW)]}) as teacher:
        played = await play(ACCEPT).run(teacher)
        assert (len(teacher.asked("planner")), len(teacher.asked("worker"))) == (2, 2)
    assert "broke in the middle" in played.whys[0]
    assert [event.script for event in played.of(e.ProposalReady)] == [NEW + "\n"]
    assert played.rows() == [(work(NEW), None)]
    assert played.query("SELECT count(*) FROM agent_call WHERE status = 'error' AND response IS NULL") == [
        (2,)
    ]


@pytest.mark.parametrize(
    ("refusal", "what"),
    [
        ({"status": 401, "content": f"Incorrect API key provided: {KEY}"}, "refuses the API key"),
        ({"status": 403, "content": f"{KEY} was revoked"}, "refuses the API key"),
        ({"status": 402, "content": f"{KEY} has nothing left"}, "no credit left"),
        ({"status": 429, "content": "quota", "code": "insufficient_quota"}, "no credit left"),
    ],
)
async def test_b9_a_refused_key_is_not_tried_again_and_named(play, refusal, what):
    with ScriptedTeacher({"planner": [refusal]}) as teacher:
        played = await play().run(teacher)
        assert len(teacher.asked("planner")) == 1
        assert teacher.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"
        assert "API key" not in what or teacher.base_url in played.end
    assert what in played.end
    assert "openai/t0" in played.end
    assert one_sentence(played.end)


@pytest.mark.parametrize(
    "refusal",
    [
        {"content": "too long", "code": "context_length_exceeded"},
        {"content": "This model's maximum context length is 8192 tokens, you requested 9000"},
        {"content": "the request exceeds the available context size, try increasing it"},
        {"content": "prompt is too long: 210000 tokens > 200000 maximum"},
    ],
)
async def test_b10_a_script_that_does_not_fit_is_recognised(play, refusal):
    with (
        ScriptedTeacher({**ONE_STEP, "worker": [{"status": 400, **refusal}]}) as first,
        ScriptedTeacher({"worker": [work(NEW)]}) as second,
    ):
        played = await play(ACCEPT).run(first, second)
        assert len(first.asked("worker")) == 1
    assert played.whys[0].startswith("The script and instruction do not fit in the context of openai/t0: ")
    assert one_sentence(played.whys[0])
    assert played.rows() == [(work(NEW), None)]


@pytest.mark.embedded
async def test_b10_the_embedded_model_measures_before_it_writes(play):
    long = "x = 1\n" * 20_000
    played = await play().with_teachers([connect(parse_teacher("embedded/smollm2"))], script=long)
    assert played.end.startswith("The script and instruction do not fit in the context of embedded/smollm2: ")
    assert played.of(e.AgentText) == []


async def test_b12_a_login_page_is_no_code(play):
    page = {"raw": "<html><body>Welcome! Log in to the hotel's network</body></html>", "content": ""}
    moved = {"status": 302, "content": "", "headers": {"Location": "http://192.0.2.1/login"}}
    with ScriptedTeacher({**ONE_STEP, "worker": [page, moved]}) as teacher:
        played = await play("stop").run(teacher)
    assert len(played.whys) == 2
    assert all("perhaps a login page" in why and one_sentence(why) for why in played.whys)
    assert played.of(e.ProposalReady) == played.rows() == []


async def test_b12_being_offline_is_said_after_one_more_try(play):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        played = await play().run(url)
    assert len(played.of(e.TeacherWaiting)) == 1
    assert "cannot be reached" in played.end
    assert "online" in played.end
    assert one_sentence(played.end)
