"""A whole session with a user who answers from a list; the model alone is faked."""

from __future__ import annotations

import asyncio
import json
import sqlite3

from scripted_teacher import instruct, plan

from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape.event_json import to_json
from precision_shaking.sape.retrying import Patience
from precision_shaking.sape.session import Session
from precision_shaking.sape.teachers import connect, parse_teacher
from precision_shaking.sape.wire import StartParams
from tests.server.audience import Audience

OLD = 'print("hi")\n'
NEW = 'print("hello")'
KEY = "canary-0123456789"  # not in the shape of anybody's keys
ONE_STEP = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}
ACCEPT = {"verdict": "accepted"}
REDO = {"verdict": "redo", "words": "another"}
HURRIED = Patience(idle_seconds=0.5, total_seconds=20, first_wait=0.01)


class Play(Audience):
    """A session of a user who answers from a list, and everything that was told."""

    def __init__(self, tmp_path, *answers):
        super().__init__(*answers)
        self.document = tmp_path / "greet.py"
        self.document.write_text(OLD, "utf-8")
        self.store = Store.open(tmp_path / "dataset.db")

    async def run(self, *servers, script=OLD, patience=HURRIED, instance=None):
        urls = [server if isinstance(server, str) else server.base_url for server in servers]
        texts = [f"openai/t{n}@{url}" for n, url in enumerate(urls)]
        pool = [connect(parse_teacher(text, KEY), patience) for text in texts]
        return await self.with_teachers(pool, script, instance)

    async def with_teachers(self, pool, script=OLD, instance=None):
        params = StartParams(str(self.document), script, "say hello", tuple(t.access for t in pool))
        self.session = Session(params, pool, self.store, self.hear, instance)
        await asyncio.wait_for(self.session.run(), 30)
        return self

    @property
    def end(self):
        """How it ended: a status, or the sentence of a failure."""
        last = self.events[-1]
        return last.message if isinstance(last, e.SessionFailed) else last.status

    @property
    def whys(self):
        return [event.why for event in self.of(e.AnswerUnreadable)]

    def rows(self):
        return [(row.chosen, row.rejected) for row in self.store.rows()]

    def query(self, sql):
        with sqlite3.connect(self.store.path) as db:
            return db.execute(sql).fetchall()

    def told(self):
        """Every event as the engine's client gets it."""
        return json.dumps([to_json(event) for event in self.events])

    def check_what_always_holds(self):
        """The user's file is as it was, the session has an end, and the dataset is what was told of it."""
        assert self.document.read_text("utf-8") == OLD
        assert isinstance(self.events[-1], e.SessionFinished | e.SessionFailed)
        assert self.query("PRAGMA integrity_check") == [("ok",)]
        rows = [event.rows for event in self.of(e.RowWritten)]
        assert self.query("SELECT count(*) FROM pair") == [(max(rows, default=0),)]


def one_sentence(message):
    """Whether this is short, plain and of one sentence."""
    return message.count(". ") == 0 and "\n" not in message and len(message) < 250
