"""`precision-shaking run`: a session in the terminal, by the same engine process that editors use."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import deque
from pathlib import Path

from attrs import define
from rich.console import Console

from precision_shaking.answers import STOP, Answers, NoAnswerError, read_answers
from precision_shaking.console import JsonView, TerminalView, View, visible
from precision_shaking.document import Document, DocumentError
from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.process import EngineError, EngineProcess
from precision_shaking.sape.teachers import TeacherError, parse_teacher
from precision_shaking.sape.vocabulary import SessionStatus

DEFAULT_TEACHER = "embedded/smollm2"
_DONE, _NOT_DONE, _UNUSABLE, _INTERRUPTED = 0, 1, 2, 130


class OptionsError(Exception):
    """Options that do not go together; the message is one sentence for the user."""


def run(arguments: argparse.Namespace) -> int:
    """Run a session.

    Returns:
        0 when every step was accepted, 1 when it was stopped before, 2 after an error, 130 after Ctrl+C.
    """
    console = Console(highlight=False)
    try:
        document = Document.read(Path(arguments.file))
        scripted = read_answers(Path(arguments.answers)) if arguments.answers else deque()
        params = _params(arguments, document)
        view: View = JsonView(sys.stdout) if arguments.json else TerminalView(console)
        asking = Console(stderr=True, highlight=False) if arguments.json else console
        return asyncio.run(_Run(document, Answers(scripted, asking), view).drive(params))
    except (OptionsError, DocumentError, NoAnswerError, TeacherError, EngineError) as error:
        sys.stderr.write(f"precision-shaking: {visible(str(error))}\n")
        return _UNUSABLE
    except KeyboardInterrupt:
        sys.stderr.write("precision-shaking: stopped; what was accepted is in the file.\n")
        return _INTERRUPTED


def _params(arguments: argparse.Namespace, document: Document) -> wire.StartParams:
    key = os.environ.get("PRECISION_SHAKING_API_KEY")
    pool = [parse_teacher(text) for text in arguments.teachers or [DEFAULT_TEACHER]]
    # The key is meant for servers of the user's own; a provider's is in the provider's own variable.
    teachers = tuple(wire.TeacherAccess(t.name, t.base_url, key if t.base_url else None) for t in pool)
    if arguments.replay and arguments.teachers:
        raise OptionsError("A replay has the teachers of its recording: leave out --teacher.")
    if arguments.replay and not arguments.db:
        raise OptionsError(
            "A replay makes the recorded session's rows again: name a dataset for them with --db."
        )
    return wire.StartParams(
        document=arguments.file,
        script=document.text,
        request=arguments.request,
        teachers=teachers,
        db=_absolute(arguments.db),
        max_attempts=max(1, arguments.max_attempts),
        execute=not arguments.no_execute,
        record=_absolute(arguments.record),
        replay=_absolute(arguments.replay),
    )


def _absolute(file: str | None) -> str | None:
    return str(Path(file).absolute()) if file else None


@define
class _Run:
    document: Document
    answers: Answers
    view: View

    async def drive(self, params: wire.StartParams) -> int:
        """Show what happens, pass on what the user says, write what they accept."""
        events: asyncio.Queue[e.SessionEvent] = asyncio.Queue()
        engine = await EngineProcess.start(events.put_nowait)
        try:
            await engine.begin(params)
            while True:
                event = await events.get()
                self.view.show(event)
                match event:
                    case e.ProposalReady():
                        await self._answer(engine, event)
                    case e.HelpNeeded():
                        answer = await self.answers.to_help()
                        await engine.help(wire.HelpParams(answer.choice, answer.script))
                    case e.StepAccepted(_, script):
                        self.document.replace(script)
                    case e.SessionFinished(_, status):
                        return _DONE if status == SessionStatus.DONE else _NOT_DONE
                    case e.SessionFailed(_, message):
                        raise EngineError(message)
                    case _:
                        pass
        finally:
            await engine.stop()

    async def _answer(self, engine: EngineProcess, proposal: e.ProposalReady) -> None:
        answer = await self.answers.to_proposal()
        if answer.verdict == STOP:
            await engine.request("stop")
            return
        await engine.answer(wire.AnswerParams(proposal.attempt, answer.verdict, answer.words, answer.amended))
