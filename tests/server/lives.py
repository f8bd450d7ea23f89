"""A session played in several engines, each but the last of which is killed where the test wants it."""

from __future__ import annotations

import asyncio
import sqlite3

import psutil

from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineProcess

OLD = "print(0)\n"
HELD_UP = {"content": "too late", "delay": 600}
AGENTS = ("planner", "lead", "worker", "analyzer")
COUNTS = "SELECT (SELECT count(*) FROM attempt), (SELECT count(*) FROM run), (SELECT count(*) FROM feedback)"
ROWS = "SELECT step, prompt, chosen, rejected, reason, cycle, has_soft_labels FROM dorpo"


def select(db, sql):
    connection = sqlite3.connect(db)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class Lives:
    """One session, with as many engines as it takes. `reactions` are the user's, in their order."""

    def __init__(self, db, teacher, reactions):
        self.db, self.teacher = db, teacher
        self.reactions = list(reactions)
        self.uid = None
        self.told = []

    async def until(self, place=None):
        """Go on to a place and kill the engine there; without one, to the end of the session.

        A place is an agent and how often it has been asked, an event and how often it was told in this life,
        or `user` or `run` and how many events the journal has when the user is asked or a script runs.
        """
        events = asyncio.Queue()
        engine = await EngineProcess.start(events.put_nowait)
        try:
            async with asyncio.timeout(60):
                await self._begin(engine)
                listening = asyncio.create_task(self._listen(engine, events, place))
                waiting = {listening, *self._arrivals(engine, place)}
                done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in others:
                    task.cancel()
                for task in done:
                    task.result()
        finally:
            engine.kill()
            await engine.wait()

    async def _begin(self, engine):
        name, key = f"openai/t@{self.teacher.base_url}", "sk-canary"
        if self.uid is not None:
            began = await engine.resume(wire.ResumeParams(self.uid, {name: key}, str(self.db)))
            assert (began.document, began.request, began.script) == ("a.py", "count", OLD)
            return
        pool = (wire.TeacherAccess("openai/t", self.teacher.base_url, key),)
        start = wire.StartParams("a.py", OLD, "count", pool, db=str(self.db), max_attempts=2)
        self.uid = (await engine.begin(start)).session

    def _arrivals(self, engine, place):
        if place and place[0] == "run":
            return [asyncio.create_task(self._running(engine.pid, place[1]))]
        if place and place[0] in AGENTS:
            agent, times = place
            return [asyncio.create_task(asyncio.to_thread(self.teacher.was_asked, agent, 60, times))]
        return []

    async def _listen(self, engine, events, place):
        self.told = []
        while True:
            event = await events.get()
            self.told.append(event)
            kind = type(event)
            if place and (kind, [type(told) for told in self.told].count(kind)) == place:
                return
            if isinstance(event, e.ProposalReady | e.HelpNeeded) and place == ("user", self.moment()):
                return
            if isinstance(event, e.ProposalReady):
                await engine.answer(wire.AnswerParams(event.attempt, **self.reactions.pop(0)))
            elif isinstance(event, e.HelpNeeded):
                await engine.help(wire.HelpParams(**self.reactions.pop(0)))
            elif isinstance(event, e.SessionFinished):
                return
            assert not isinstance(event, e.SessionFailed), event

    def result(self):
        """What the dataset holds, and what the teacher was asked."""
        asked = {agent: len(self.teacher.asked(agent)) for agent in AGENTS}
        return select(self.db, ROWS), select(self.db, COUNTS), asked

    def moment(self):
        """How many events the journal has."""
        return select(self.db, "SELECT count(*) FROM journal")[0][0]

    async def _running(self, pid, moment):
        engine = psutil.Process(pid)
        while self.moment() != moment or not engine.children(recursive=True):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
