"""A user who hears every event of a session, and answers what it asks from a list."""

from __future__ import annotations

import asyncio

from precision_shaking.sape import events as e
from precision_shaking.sape.wire import AnswerParams, HelpParams


class Audience:
    """Hears every event, and answers proposals from a list."""

    def __init__(self, *answers):
        self.events = []
        self.session = None
        self._answers = list(answers)

    def hear(self, event):
        self.events.append(event)
        if isinstance(event, e.ProposalReady | e.HelpNeeded):
            asyncio.get_running_loop().call_soon(self._react, event)

    def _react(self, event):
        reaction = self._answers.pop(0) if self._answers else "stop"
        if reaction == "stop":
            self.session.stop()
        elif isinstance(event, e.HelpNeeded):
            self.session.help(HelpParams(**reaction))
        else:
            self.session.answer(AnswerParams(event.attempt, **reaction))

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def ending(self):
        last = self.events[-1]
        assert (type(last), last.session) == (e.SessionFinished, self.session.uid)
        return (last.status, last.script, last.rows, last.soft_labels)
