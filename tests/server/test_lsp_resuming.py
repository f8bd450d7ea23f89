"""Servers and engines that are killed under an editor, and what it can do about it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from tests.server.lsp_editor import PATIENCE, editor, rows

URI = "file:///greet.py"
SCRIPT = "print('hello')\n\n\nprint('bye')\n"
FIRST = "print('hello, world')\n\n\nprint('bye')\n"
SECOND = "print('hello, world')\n\n\nprint('farewell')\n"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the engine in /proc")


@pytest.fixture
def teacher():
    said = {
        "planner": [plan("greet the world", "say farewell")],
        "lead": [instruct("Do it.")],
        "worker": [work(FIRST), work(SECOND)],
        "analyzer": [verdict("accepted")],
    }
    with ScriptedTeacher(said) as server:
        yield server


def mine(text):
    """The text with what the user wrote into it themselves."""
    return text.replace("\n\n\n", "\n\n# mine\n\n")


def engine_of(ed):
    server = ed.client._server.pid
    children = Path(f"/proc/{server}/task/{server}/children").read_text("ascii").split()
    [engine] = [
        pid for pid in children if b"engine" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    ]
    return int(engine)


async def accept(ed, session, proposal):
    params = {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
    assert (await ed.ask("answer", params))["applied"]


async def finish(ed, session):
    """Accept what is proposed until the session has ended."""
    while (proposal := await ed.next_proposal())["step"] == 0:
        await accept(ed, session, proposal)
    await accept(ed, session, proposal)
    return await ed.next_event_of_the_end()


@pytest.mark.parametrize("accepted", [0, 1])
async def test_a_session_survives_its_server(home, teacher, accepted):
    options = {"teachers": [teacher.teacher()]}
    async with editor(home, **options) as ed:
        ed.open(URI, SCRIPT)
        session = await ed.start(URI)
        for _ in range(accepted):
            await ed.accept_next(session)
        before = await ed.next_proposal()
        text = ed.documents[URI].text
        os.kill(ed.client._server.pid, signal.SIGKILL)
        await asyncio.wait_for(ed.client._server.wait(), PATIENCE)
    async with editor(home, **options) as ed:
        # The user works on before they resume.
        ed.open(URI, mine(text))
        [waiting] = (await ed.ask("openSessions", {}))["sessions"]
        assert (waiting["session"], waiting["uri"], waiting["step"]) == (session, URI, accepted)
        assert waiting["teachers"] == options["teachers"]
        assert await ed.ask("resumeSession", {"session": session}) == {"session": session}
        after = await ed.next_proposal()
        assert after == before
        assert ed.documents[URI].text == mine(text)
        await accept(ed, session, after)
        assert ed.documents[URI].text == mine([FIRST, SECOND][accepted])
        if not accepted:
            await accept(ed, session, await ed.next_proposal())
        assert (await ed.next_event_of_the_end())["status"] == "done"
        assert (await ed.ask("openSessions", {}))["sessions"] == []
    assert [(row["step"], row["rejected"]) for row in rows(home)] == [(0, None), (1, None)]
    assert len(teacher.asked("worker")) == 2


async def test_an_engine_that_dies_is_said_and_its_session_goes_on(home, teacher):
    async with editor(home, teachers=[teacher.teacher()]) as ed:
        ed.open(URI, SCRIPT)
        session = await ed.start(URI)
        await ed.next_proposal()
        os.kill(engine_of(ed), signal.SIGKILL)
        failed = await next_of(ed, "session_failed")
        assert failed["message"] == "The engine stopped unexpectedly; the session can be resumed."
        await ed.ask("resumeSession", {"session": session})
        assert (await finish(ed, session))["rows"] == 2
        assert ed.documents[URI].text == SECOND


async def test_an_acceptance_that_was_not_written_any_more_is_written_when_it_is_resumed(home, teacher):
    """The analyzer accepts, and the editor is gone before it can edit the document."""
    async with editor(home, behaviour="refusing", teachers=[teacher.teacher()]) as ed:
        ed.open(URI, SCRIPT)
        session = await ed.start(URI)
        attempt = (await ed.next_proposal())["attempt"]
        await ed.ask("answer", {"session": session, "attempt": attempt, "words": "that is fine"})
        await ed.next_proposal()
        assert ed.documents[URI].text == SCRIPT
    async with editor(home, teachers=[teacher.teacher()]) as ed:
        ed.open(URI, SCRIPT)
        await ed.ask("resumeSession", {"session": session})
        proposal = await ed.next_proposal()
        assert ed.documents[URI].text == proposal["base"] == FIRST


async def test_an_abandoned_session_is_offered_no_more(home, teacher):
    async with editor(home, teachers=[teacher.teacher()]) as ed:
        ed.open(URI, SCRIPT)
        session = await ed.start(URI)
        await ed.next_proposal()
        with pytest.raises(Exception, match="running already"):
            await ed.ask("resumeSession", {"session": session})
    async with editor(home, teachers=[teacher.teacher()]) as ed:
        with pytest.raises(Exception, match="not open"):
            await ed.ask("resumeSession", {"session": session})
        assert await ed.ask("abandonSession", {"session": session}) == {}
        assert (await ed.ask("openSessions", {}))["sessions"] == []
        ed.open(URI, SCRIPT)
        with pytest.raises(Exception, match="was stopped"):
            await ed.ask("resumeSession", {"session": session})
    assert rows(home) == []


async def test_other_editors_are_asked_by_the_server(home, teacher):
    options = {"teachers": [teacher.teacher()], "clientCommands": False}
    async with editor(home, **options) as ed:
        ed.open(URI, SCRIPT)
        await ed.run("precisionShaking.server.start", URI, "greet")
        await ed.next_event("proposal_ready")
    async with editor(home, **options) as ed:
        ed.open(URI, SCRIPT)
        question = await ed.patiently(ed.questions.get())
        assert question.message == "The session on greet.py stopped at step 1/2. Resume?"
        assert [button.title for button in question.actions] == ["Resume", "Abandon", "Later"]
        ed.buttons.put_nowait("Later")
        [_, resume, abandon] = await ed.actions(URI)
        assert "Abandon" in abandon["title"]
        await ed.run(resume["command"]["command"], *resume["command"]["arguments"])
        await ed.next_proposal()
        os.kill(engine_of(ed), signal.SIGKILL)
        question = await ed.patiently(ed.questions.get())
        assert question.message == "The engine stopped unexpectedly; the session can be resumed."
        ed.buttons.put_nowait("Later")
        [_, resume, _] = await ed.actions(URI)
        await ed.run(resume["command"]["command"], *resume["command"]["arguments"])
        await ed.next_proposal()
        os.kill(engine_of(ed), signal.SIGKILL)
        await ed.patiently(ed.questions.get())
        ed.buttons.put_nowait("Resume")
        assert (await ed.next_proposal())["step"] == 0


async def test_a_session_of_another_version_can_only_be_given_up(home, teacher):
    options = {"teachers": [teacher.teacher()], "clientCommands": False}
    async with editor(home, **options) as ed:
        ed.open(URI, SCRIPT)
        await ed.run("precisionShaking.server.start", URI, "greet")
        await ed.next_event("proposal_ready")
    with contextlib.closing(sqlite3.connect(home / "dataset.db")) as database, database:
        database.execute('UPDATE journal SET event = \'{"kind": "Danced"}\'')
    async with editor(home, **options) as ed:
        ed.open(URI, SCRIPT)
        question = await ed.patiently(ed.questions.get())
        assert question.message.startswith("The session on greet.py broke off. This version cannot resume")
        assert [button.title for button in question.actions] == ["Abandon", "Later"]
        ed.buttons.put_nowait("Later")
        [waiting] = (await ed.ask("openSessions", {}))["sessions"]
        assert (waiting["uri"], waiting["problem"] in question.message) == (URI, True)
        [_, abandon] = await ed.actions(URI)
        assert abandon["title"].startswith("Abandon")
        assert await ed.ask("abandonSession", {"session": waiting["session"]}) == {}
        assert (await ed.ask("openSessions", {}))["sessions"] == []


async def next_of(ed, kind):
    async with asyncio.timeout(PATIENCE):
        while (event := (await ed.events.get())["event"])["kind"] != kind:
            pass
    return event
