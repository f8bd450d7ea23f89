"""Correcting what the analyzer read: in a session, over the engine's wire, and from editors of both kinds."""

import asyncio
import sqlite3

import pytest
from pygls.exceptions import JsonRpcException
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineError, EngineProcess
from precision_shaking.sape.session import Session, SessionError
from precision_shaking.sape.teachers import connect, parse_teacher
from tests.server.lsp_editor import editor, rows

OLD = "print('hello')\n"
FIRST = "print('hello')\nprint('bye')\n"
SECOND = "print('hello')\nprint('BYE')\n"


def teacher(*readings, steps=("say goodbye",)):
    script = {"planner": [plan(*steps)], "lead": [instruct("Add a line.")]}
    script["worker"] = [work(FIRST), work(SECOND)]
    return ScriptedTeacher({**script, "analyzer": [verdict(reading) for reading in readings]})


def labels(path):
    """Verdict and author of every feedback, and (reason, is complete) of every row."""
    with sqlite3.connect(path) as db:
        feedback = db.execute("SELECT verdict, decided_by FROM feedback ORDER BY id").fetchall()
        pairs = db.execute("SELECT reason, chosen_id IS NOT NULL FROM pair ORDER BY id").fetchall()
    return feedback, pairs


class Correcting:
    """Answers the first proposal with words, corrects how they were read, then does as `after` says."""

    def __init__(self, corrected, after):
        self.corrected = corrected
        self.after = after
        self.events = []
        self.session = None

    def hear(self, event):
        self.events.append(event)
        asyncio.get_running_loop().call_soon(self._react, event)

    def _react(self, event):
        if isinstance(event, e.FeedbackRead) and event.decided_by == "analyzer":
            self.session.correct(wire.CorrectParams(event.attempt, self.corrected))
        elif isinstance(event, e.ProposalReady) and event.cycle == 1 and event.step == 0:
            self.session.answer(wire.AnswerParams(event.attempt, words="hm, well"))
        elif isinstance(event, e.ProposalReady):
            if self.after == "stop":
                self.session.stop()
            else:
                self.session.answer(wire.AnswerParams(event.attempt, self.after))


# What was read, what was meant, what the user does next → labels and rows at the end.
CASES = [
    ("redo", "further_edit", "accepted", ["further_edit", "accepted"], [("further_edit", 1)]),
    ("redo", "accepted", "stop", ["accepted"], [(None, 1)]),
    ("redo", "accepted", "accepted", ["accepted", "accepted"], [(None, 1)]),
    ("further_edit", "redo", "stop", ["redo"], [("redo", 0)]),
    ("accepted", "redo", "accepted", ["redo", "accepted"], [("redo", 0), (None, 1)]),
]


@pytest.mark.parametrize(("read", "meant", "after", "verdicts", "pairs"), CASES)
async def test_the_session_goes_on_and_the_dataset_is_right(tmp_path, read, meant, after, verdicts, pairs):
    audience = Correcting(meant, after)
    with Store.open(tmp_path / "d.db") as store, teacher(read, steps=("one", "two")) as server:
        pool = [connect(parse_teacher(server.teacher()))]
        params = wire.StartParams("a.py", OLD, "say goodbye", (pool[0].access,))
        audience.session = Session(params, pool, store, audience.hear)
        await asyncio.wait_for(audience.session.run(), 30)
    feedback, found = labels(tmp_path / "d.db")
    assert [word for word, _ in feedback][: len(verdicts)] == verdicts
    assert feedback[0][1] == "user"
    assert found[: len(pairs)] == pairs
    assert not [event for event in audience.events if isinstance(event, e.SessionFailed)]


async def test_a_correction_that_makes_no_sense_is_refused(tmp_path):
    with Store.open(tmp_path / "d.db") as store, teacher("redo") as server:
        pool = [connect(parse_teacher(server.teacher()))]
        params = wire.StartParams("a.py", OLD, "say goodbye", (pool[0].access,))
        session = Session(params, pool, store, lambda _: None)
        with pytest.raises(SessionError, match="is no verdict"):
            session.correct(wire.CorrectParams("some", "fine"))
        with pytest.raises(SessionError, match="has no attempt"):
            session.correct(wire.CorrectParams("some", "redo"))


async def test_the_engine_takes_corrections(tmp_path):
    events = asyncio.Queue()
    engine = await EngineProcess.start(events.put_nowait)
    try:
        with teacher("redo") as server:
            access = parse_teacher(server.teacher())
            await engine.begin(
                wire.StartParams("a.py", OLD, "say goodbye", (access,), db=str(tmp_path / "d.db"))
            )
            proposal = await _next(events, e.ProposalReady)
            with pytest.raises(EngineError, match="Nothing was said"):
                await engine.correct(wire.CorrectParams(proposal.attempt, "redo"))
            await engine.answer(wire.AnswerParams(proposal.attempt, words="not so loud"))
            read = await _next(events, e.FeedbackRead)
            await engine.correct(wire.CorrectParams(read.attempt, "further_edit"))
            assert labels(tmp_path / "d.db") == ([("further_edit", "user")], [("further_edit", 0)])
    finally:
        await engine.stop()


async def _next(events, kind):
    while not isinstance(event := await asyncio.wait_for(events.get(), 20), kind):
        pass
    return event


async def test_an_editor_corrects_a_running_session_and_one_that_is_over(home, uri):
    with teacher("redo", "accepted") as server:
        async with editor(home, teachers=[server.teacher()]) as ed:
            ed.open(uri, OLD)
            session = await ed.start(uri)
            first = (await ed.next_proposal())["attempt"]
            await ed.ask("answer", {"session": session, "attempt": first, "words": "louder"})
            second = (await ed.next_proposal())["attempt"]
            correction = {"session": session, "attempt": first, "verdict": "further_edit"}
            assert await ed.ask("correct", correction) == {}
            await ed.ask("answer", {"session": session, "attempt": second, "words": "hm"})
            await ed.next_event_of_the_end()
            assert [row["reason"] for row in rows(home)] == ["further_edit"]

            assert await ed.ask("correct", {"session": session, "attempt": second, "verdict": "redo"}) == {}
            assert rows(home) == []
            with pytest.raises(JsonRpcException, match="has no attempt"):
                await ed.ask("correct", {"session": session, "attempt": "other", "verdict": "redo"})
    assert labels(home / "dataset.db")[1] == [("further_edit", 0), ("redo", 0)]


async def test_other_editors_are_offered_a_button(home, uri):
    with teacher("redo", "accepted") as server:
        async with editor(home, clientCommands=False, teachers=[server.teacher()]) as ed:
            ed.open(uri, OLD)
            session = await ed.start(uri)
            await ed.next_proposal()
            ed.buttons.put_nowait("No: further edit")
            await ed.run("precisionShaking.server.feedback", session, "louder")
            await ed.next_proposal()
            question = await ed.patiently(ed.questions.get())
            assert question.message == "Read as: redo."
            assert [action.title for action in question.actions] == ["No: accepted", "No: further edit"]
            while "Noted" not in (message := await ed.next_message()):
                pass
            assert "goes on as it was read" in message
            ed.buttons.put_nowait(None)
            await ed.run("precisionShaking.server.feedback", session, "fine")
            await ed.next_event_of_the_end()
            await ed.patiently(ed.questions.get())
    assert [row["reason"] for row in rows(home)] == ["further_edit"]
