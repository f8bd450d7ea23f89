"""Whole sessions with a scripted teacher: real agents, real adapter, real execution, real dataset."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from scripted_teacher import ScriptedTeacher, answer, instruct, plan, verdict, work

from dorpo.rendering import SYSTEM_PROMPT, render_prompt
from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape.session import Session, SessionError
from precision_shaking.sape.teachers import connect, parse_teacher
from precision_shaking.sape.wire import AnswerParams, HelpParams, StartParams
from tests.server.audience import Audience

OLD = 'print("hi")\n'
NEW = 'print("hello")'
BROKEN = "print(1 / 0)"
ONE_STEP = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}


ACCEPT = {"verdict": "accepted"}
REDO = {"verdict": "redo", "words": "say it to me"}
FURTHER = {"verdict": "further_edit", "words": "louder"}


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "dataset.db") as opened:
        yield opened


async def play(store, audience, *servers, script=OLD, **more):
    """Run a session; each server is one teacher of the pool."""
    pool = [connect(parse_teacher(server.teacher(f"openai/t{n}"))) for n, server in enumerate(servers)]
    params = StartParams("greet.py", script, "say hello", tuple(t.access for t in pool), **more)
    audience.session = Session(params, pool, store, audience.hear)
    await asyncio.wait_for(audience.session.run(), 30)
    return audience


def query(store, sql):
    with sqlite3.connect(store.path) as db:
        return db.execute(sql).fetchall()


async def test_a_proposal_that_is_accepted_at_once_is_one_row_without_a_rejected(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        told = await play(store, Audience(ACCEPT), teacher)
    [row] = store.rows()
    assert (row.prompt, row.chosen) == (render_prompt("Print hello.", OLD), work(NEW))
    assert (row.rejected, row.reason, row.teacher, row.cycle) == (None, None, "openai/t0", 1)
    assert row.chosen_soft_labels is not None
    assert told.ending() == ("done", NEW + "\n", 1, 1)
    [proposal] = told.of(e.ProposalReady)
    assert (proposal.base, proposal.script, proposal.outcome) == (OLD, NEW + "\n", "ok")
    assert proposal.output == "hello\n"


async def test_every_failed_attempt_is_a_row_with_the_same_prompt_and_chosen(store):
    worker = [work(BROKEN), work('print("Hello")'), work('print("HELLO")'), work(NEW)]
    with ScriptedTeacher({**ONE_STEP, "worker": worker}) as teacher:
        told = await play(store, Audience(REDO, FURTHER, ACCEPT), teacher, max_attempts=9)
    rows = list(store.rows())
    assert [row.reason for row in rows] == ["error", "redo", "further_edit"]
    assert {row.chosen for row in rows} == {work(NEW)}
    assert {row.prompt for row in rows} == {render_prompt("Print hello.", OLD)}
    assert [row.rejected for row in rows] == worker[:3]
    assert [event.rows for event in told.of(e.RowWritten)] == [1, 2, 3]
    assert told.of(e.StepAccepted) == [e.StepAccepted(0, NEW + "\n", 3)]


async def test_agents_are_told_what_became_of_the_attempt_before(store):
    worker = [work(BROKEN), work('print("Hello")'), work('print("HELLO")'), work(NEW)]
    with ScriptedTeacher({**ONE_STEP, "worker": worker}) as teacher:
        await play(store, Audience(REDO, FURTHER, ACCEPT), teacher, max_attempts=9)
        leads = [body["messages"][-1]["content"] for body in teacher.asked("lead")]
        workers = [body["messages"][-1]["content"] for body in teacher.asked("worker")]
    assert "ZeroDivisionError" in leads[1]
    assert BROKEN in leads[1]
    assert "not applied" in leads[2]
    assert "say it to me" in leads[2]
    assert 'print("Hello")' in leads[2]
    assert OLD.strip() in leads[2]
    assert "current script now" in leads[3]
    assert "louder" in leads[3]
    assert "print(1 / 0)" in workers[1]
    assert "<error>" in workers[1]
    assert "<feedback>\nsay it to me\n</feedback>" in workers[2]
    assert "<attempt>" not in workers[3]
    assert "<feedback>\nlouder\n</feedback>" in workers[3]
    # A redo works on the script before; a further edit on the attempt.
    assert OLD.strip() in workers[2]
    assert OLD.strip() not in workers[3]
    assert 'print("Hello")' not in workers[0]


async def test_the_worker_is_asked_exactly_as_the_student_will_be(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        await play(store, Audience(ACCEPT), teacher)
        [body] = teacher.asked("worker")
    assert body["messages"] == [
        {"role": "system", "content": SYSTEM_PROMPT},
        {"role": "user", "content": render_prompt("Print hello.", OLD)},
    ]
    assert (body["temperature"], body["top_logprobs"], body["stream"]) == (0.0, 20, True)


async def test_whoever_is_asked_again_is_asked_with_more_variety(store):
    worker = [work('print("a")'), work('print("b")'), work(NEW)]
    with ScriptedTeacher({**ONE_STEP, "worker": worker}) as teacher:
        await play(store, Audience(REDO, REDO, ACCEPT), teacher, max_attempts=9)
        asked = [(body["temperature"], body["seed"]) for body in teacher.asked("worker")]
    assert asked == [(0.0, 0), (0.4, 1), (0.7, 2)]


async def test_words_alone_are_read_by_the_analyzer(store):
    script = {**ONE_STEP, "worker": [work('print("a")'), work(NEW)]}
    script["analyzer"] = [verdict("unclear"), verdict("redo"), verdict("accepted")]
    said = [{"words": "hm"}, {"words": "no"}, {"words": "yes"}]
    with ScriptedTeacher(script) as teacher:
        told = await play(store, Audience(*said), teacher)
    read = [(event.verdict, event.decided_by, event.words) for event in told.of(e.FeedbackRead)]
    assert read == [("redo", "analyzer", "no"), ("accepted", "analyzer", "yes")]
    assert [event.unclear for event in told.of(e.ProposalReady)] == [False, True, False]
    assert [row.reason for row in store.rows()] == ["redo"]


async def test_a_button_is_not_read_by_anybody(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        told = await play(store, Audience({"verdict": "accepted", "words": "redo this, it is bad"}), teacher)
        assert teacher.asked("analyzer") == []
    assert told.of(e.FeedbackRead)[0].decided_by == "user"


async def test_an_analyzer_that_cannot_be_read_leaves_the_decision_to_the_user(store):
    script = {**ONE_STEP, "worker": [work(NEW)], "analyzer": ["I think they like it"]}
    with ScriptedTeacher(script) as teacher:
        told = await play(store, Audience({"words": "nice"}, ACCEPT), teacher)
    assert [event.unclear for event in told.of(e.ProposalReady)] == [False, True]
    assert told.events[-1].status == "done"


async def test_an_amended_proposal_is_chosen_over_the_workers_own(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        told = await play(store, Audience({**ACCEPT, "amended": 'print("ciao")\n'}), teacher)
    [row] = store.rows()
    assert (row.reason, row.rejected) == ("amended", work(NEW))
    assert (row.chosen, row.teacher) == (work('print("ciao")'), "user")
    assert row.chosen_soft_labels is None
    assert row.rejected_soft_labels is not None
    assert told.events[-1].script == 'print("ciao")\n'


async def test_steps_go_on_from_what_was_accepted(store):
    script = {
        "planner": [plan("one", "two")],
        "lead": [instruct("a"), instruct("b")],
        "worker": [work("x = 1"), work("x = 2")],
    }
    with ScriptedTeacher(script) as teacher:
        told = await play(store, Audience({**ACCEPT, "document": "x = 1  # mine\n"}, ACCEPT), teacher)
    assert [event.base for event in told.of(e.ProposalReady)] == [OLD, "x = 1  # mine\n"]
    assert [row.prompt for row in store.rows()] == [
        render_prompt("a", OLD),
        render_prompt("b", "x = 1  # mine\n"),
    ]
    assert [event.step for event in told.of(e.StepStarted)] == [0, 1]


UNREADABLE = [
    ({"content": "Sure! Here is your script: print(1)"}, "no reasoning"),
    ({"content": ""}, "no reasoning"),
    ({"content": work(NEW), "finish_reason": "length"}, "cut off"),
    ({"content": work(NEW), "finish_reason": "content_filter"}, "withheld"),
    (work("# ... rest of the code unchanged ..."), "left out"),
    (answer(reasoning="because", script=""), "empty"),
    ({"content": work(NEW), "drop_after": 40}, "broke"),
]


@pytest.mark.parametrize(("reply", "why"), UNREADABLE)
async def test_what_cannot_be_read_is_never_shown_and_never_a_row(store, reply, why):
    with ScriptedTeacher({**ONE_STEP, "worker": [reply, work(NEW)]}) as teacher:
        told = await play(store, Audience(ACCEPT), teacher)
    [unreadable] = told.of(e.AnswerUnreadable)
    assert why in unreadable.why
    [row] = store.rows()
    assert (row.rejected, row.chosen) == (None, work(NEW))
    [proposal] = told.of(e.ProposalReady)
    assert proposal.script == NEW + "\n"


async def test_a_script_that_was_rejected_is_not_shown_again(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work("x = 1"), work("x = 1"), work(NEW)]}) as teacher:
        told = await play(store, Audience(REDO, ACCEPT), teacher)
    assert "a script again that was rejected" in told.of(e.AnswerUnreadable)[0].why
    assert [row.rejected for row in store.rows()] == [work("x = 1")]


async def test_the_worker_moves_on_to_the_next_teacher_and_the_row_says_whose_answer_was_chosen(store):
    with (
        ScriptedTeacher({**ONE_STEP, "worker": [work("x = 1"), work("x = 2")]}) as first,
        ScriptedTeacher({"worker": [work(NEW)]}) as second,
    ):
        told = await play(store, Audience(REDO, REDO, ACCEPT), first, second, max_attempts=2)
    assert told.of(e.TeacherSwitched) == [e.TeacherSwitched(0, "openai/t1")]
    assert {(row.teacher, row.cycle) for row in store.rows()} == {("openai/t1", 3)}


async def test_when_all_have_failed_the_user_helps(store):
    with ScriptedTeacher({**ONE_STEP, "worker": ["?"]}) as teacher:
        told = await play(store, Audience({"choice": "retry"}, {"choice": "skip"}), teacher)
    assert len(told.of(e.HelpNeeded)) == 2
    assert told.ending() == ("done", OLD, 0, 0)


async def test_a_step_solved_by_hand_is_a_row(store):
    with ScriptedTeacher({**ONE_STEP, "worker": ["?"]}) as teacher:
        told = await play(store, Audience({"choice": "retry", "script": NEW}), teacher)
    [row] = store.rows()
    assert row.teacher == "user"
    assert NEW in row.chosen
    assert told.events[-1].script == NEW + "\n"


async def test_what_is_done_by_hand_begins_with_what_was_edited_further(store):
    script = {**ONE_STEP, "worker": [work(NEW), "?"]}
    with ScriptedTeacher(script) as teacher:
        further = {"verdict": "further_edit", "words": "more"}
        told = await play(store, Audience(further, {"choice": "retry", "script": NEW}), teacher)
    [asked] = told.of(e.HelpNeeded)
    assert (asked.base, asked.script) == (OLD, NEW + "\n")


async def test_a_stopped_session_leaves_no_complete_row(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(BROKEN), work(NEW)]}) as teacher:
        told = await play(store, Audience(), teacher)
    assert told.ending() == ("abandoned", OLD, 1, 0)
    assert list(store.rows()) == []
    assert query(store, "SELECT status FROM session") == [("abandoned",)]


async def test_a_stop_is_heard_while_a_teacher_is_silent(store):
    script = {**ONE_STEP, "worker": [{"content": work(NEW), "delay": 600}]}
    with ScriptedTeacher(script) as teacher:
        audience = Audience()
        playing = asyncio.create_task(play(store, audience, teacher))
        await asyncio.to_thread(teacher.was_asked, "worker")
        audience.session.stop()
        await asyncio.wait_for(playing, 60)
    assert audience.events[-1].status == "abandoned"
    assert query(store, "SELECT agent, status FROM agent_call")[-1] == ("worker", "cancelled")


async def test_a_teacher_that_refuses_fails_the_session_in_one_sentence(store):
    refusal = {"status": 401, "content": "Incorrect API key provided: sk-secret12345678"}
    with ScriptedTeacher({"planner": [refusal]}) as teacher:
        told = await play(store, Audience(), teacher)
    failed = told.events[-1]
    assert isinstance(failed, e.SessionFailed)
    assert failed.message.count(". ") == 0
    assert "refuses the API key" in failed.message
    assert "sk-secret" not in failed.message
    assert query(store, "SELECT status FROM session") == [("crashed",)]


async def test_a_worker_whose_teacher_refuses_is_replaced_at_once(store):
    refusal = {"status": 401, "content": "no"}
    with (
        ScriptedTeacher({**ONE_STEP, "worker": [refusal]}) as first,
        ScriptedTeacher({"worker": [work(NEW)]}) as second,
    ):
        told = await play(store, Audience(ACCEPT), first, second)
        assert len(first.asked("worker")) == 1
    assert [event.teacher for event in told.of(e.AnswerUnreadable)] == ["openai/t0"]
    assert [row.teacher for row in store.rows()] == ["openai/t1"]


async def test_planner_and_lead_use_the_next_teacher_too(store):
    broken = {"status": 400, "content": "no"}
    with (
        ScriptedTeacher({"planner": [broken], "worker": [work(NEW)]}) as first,
        ScriptedTeacher(ONE_STEP) as second,
    ):
        told = await play(store, Audience(ACCEPT), first, second)
        assert first.asked("lead") == []
    assert told.events[-1].status == "done"


async def test_a_planner_that_cannot_be_read_fails_the_session(store):
    with ScriptedTeacher({"planner": ["as you wish"]}) as teacher:
        told = await play(store, Audience(), teacher)
        assert len(teacher.asked("planner")) == 2
    assert "no answer that the planner can use" in told.events[-1].message


async def test_scripts_are_not_run_where_they_must_not_be(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(BROKEN)]}) as teacher:
        told = await play(store, Audience(ACCEPT), teacher, execute=False)
    assert told.of(e.AttemptExecuted)[0].outcome == "sandbox_unavailable"
    assert [row.rejected for row in store.rows()] == [None]


async def test_what_is_told_is_stored_already(store):
    seen = []

    class Checking(Audience):
        def hear(self, event):
            if isinstance(event, e.RowWritten):
                seen.append((event.rows, query(store, "SELECT count(*) FROM pair")[0][0]))
            if isinstance(event, e.ProposalReady):
                uids = [uid for (uid,) in query(store, "SELECT uid FROM attempt")]
                seen.append(event.attempt in uids)
            super().hear(event)

    with ScriptedTeacher({**ONE_STEP, "worker": [work(BROKEN), work(NEW)]}) as teacher:
        await play(store, Checking(ACCEPT), teacher)
    assert seen == [(1, 1), True]


async def test_every_call_of_an_agent_is_kept(store):
    with ScriptedTeacher({**ONE_STEP, "worker": ["?", work(NEW)]}) as teacher:
        await play(store, Audience(ACCEPT), teacher)
    calls = query(store, "SELECT agent, status FROM agent_call ORDER BY id")
    assert calls == [("planner", "ok"), ("lead", "ok"), ("worker", "unreadable"), ("worker", "ok")]


async def test_the_end_says_what_all_calls_took(store):
    with ScriptedTeacher({**ONE_STEP, "worker": ["?", work(NEW)]}) as teacher:
        told = await play(store, Audience(ACCEPT), teacher)
    end, calls = told.events[-1], query(store, "SELECT output_tokens, seconds, cost_usd FROM agent_call")
    assert (end.calls, end.input_tokens, end.output_tokens) == (4, 400, sum(call[0] for call in calls))
    assert end.seconds == pytest.approx(sum(call[1] for call in calls), abs=0.01)
    # A server of the user's own: nobody knows its price.
    assert (end.cost_usd, end.unpriced_calls, {call[2] for call in calls}) == (None, 4, {None})


async def test_the_workers_text_is_told_while_it_is_written(store):
    with ScriptedTeacher({**ONE_STEP, "worker": [work("a = 1\n\nprint(a)", "Why not?")]}) as teacher:
        told = await play(store, Audience(ACCEPT), teacher)
    said = {}
    for event in told.of(e.AgentText):
        if event.agent == "worker":
            said[event.field] = said.get(event.field, "") + event.text
    assert said == {"reasoning": "Why not?", "script": "a = 1\n\nprint(a)"}


async def test_answers_at_the_wrong_time_or_without_a_meaning_are_refused(store):
    refused = []

    class Wrong(Audience):
        def _react(self, event):
            for wrong in [
                AnswerParams("another", "accepted"),
                AnswerParams(event.attempt, "fine"),
                AnswerParams(event.attempt, None, " "),
            ]:
                with pytest.raises(SessionError) as error:
                    self.session.answer(wrong)
                refused.append(str(error.value))
            with pytest.raises(SessionError):
                self.session.help(HelpParams("retry"))
            self.session.answer(AnswerParams(event.attempt, "accepted"))
            with pytest.raises(SessionError):
                self.session.answer(AnswerParams(event.attempt, "accepted"))

    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        told = await play(store, Wrong(), teacher)
    assert told.events[-1].status == "done"
    assert len(set(refused)) == 3
