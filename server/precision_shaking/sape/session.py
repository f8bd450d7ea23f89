"""One session: does what the workflow asks for, stores what came of it, then tells it.

Everything uncertain (teachers, runs, the user) happens in `_perform`; the workflow alone decides what
follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from dorpo.store import Store, StoreError
from precision_shaking.sape import events as e
from precision_shaking.sape import happenings as h
from precision_shaking.sape import state, workflow
from precision_shaking.sape.agents import Agents
from precision_shaking.sape.channel import Channel, ChannelError, DirectChannel
from precision_shaking.sape.consulting import Consultant
from precision_shaking.sape.execution import trim_traceback
from precision_shaking.sape.flakiness import run_fairly
from precision_shaking.sape.instances.catalogue import default
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.executing import Candidate
from precision_shaking.sape.journal import Standing
from precision_shaking.sape.labelling import Labeller
from precision_shaking.sape.narration import narrate, retell
from precision_shaking.sape.pools import pools_of
from precision_shaking.sape.questions import Questions, SessionError, known_verdict
from precision_shaking.sape.recorder import Evidence, Recorder
from precision_shaking.sape.resuming import Resumed, settings
from precision_shaking.sape.routes import Place
from precision_shaking.sape.teachers import Teacher, TeacherError
from precision_shaking.sape.vocabulary import DecidedBy, Limits, Outcome, Phase, SessionStatus
from precision_shaking.sape.wire import AnswerParams, CorrectParams, HelpParams, StartParams


class Session:
    """A session on one document.

    Args:
        params: What to change, and how.
        teachers: The pool, in the order it is used.
        store: The dataset.
        emit: Called with each event, after what it reports is on disk.
        instance: What the session's agents are, and what follows what; None for the one for scripts.
        channel: The way to the teachers; None for the direct one.
        resumed: The session as an engine before this one left it; None for a new session.
        uid: A new session's name in the dataset; None for any.

    Raises:
        TeacherError: The instance wants a teacher that the session does not have.
    """

    def __init__(
        self,
        params: StartParams,
        teachers: Sequence[Teacher],
        store: Store,
        emit: Callable[[e.SessionEvent], None],
        instance: Instance | None = None,
        channel: Channel | None = None,
        resumed: Resumed | None = None,
        uid: str | None = None,
    ) -> None:
        self.uid = resumed.uid if resumed else uid or str(uuid.uuid4())
        self._params = params
        self._instance = instance or default()
        self._teachers = teachers
        pools = pools_of(self._instance, teachers)
        # Whose teachers the workflow counts.
        self._workers = pools["worker"]
        self._root = Path(params.workspace) if params.workspace else None
        self._emit = emit
        self._recorder = Recorder(store, self.uid)
        self._resumed = resumed
        limits = Limits(
            teachers=len(self._workers),
            max_attempts=params.max_attempts,
            max_whole_lines=params.max_whole_lines,
        )
        began = Standing(state.begin(params.request, params.script, limits, self._instance.edges))
        standing = resumed.standing if resumed else began
        self._state = standing.state
        channel = channel or DirectChannel()
        own = next((teacher.name for teacher in teachers if teacher.access.worker_only), None)
        self._labeller = Labeller(store, self.uid, channel, emit, params.scorer, own)
        self._consultant = Consultant(
            Agents.of(self._instance, params.max_whole_lines),
            pools,
            self._recorder,
            channel,
            emit,
            read=self._read,
            fault=self._instance.document.fault,
        )
        self._evidence = Evidence()
        self._questions = Questions(self._read)
        self._stopping = asyncio.Event()

    # What the user may do

    def answer(self, params: AnswerParams) -> None:
        """Answer the proposal; see `Questions`."""
        self._questions.answer(params)

    def help(self, params: HelpParams) -> None:
        """Say how to go on after every teacher failed; see `Questions`."""
        self._questions.help(params)

    def correct(self, params: CorrectParams) -> None:
        """Correct a verdict that was read from the user's words.

        Only the dataset changes. What the session has done since has been shown, and perhaps written into the
        document: it goes on from there, and the user's next answer says how.

        Raises:
            SessionError: The verdict is unknown, or nothing was said about such an attempt.
        """
        known_verdict(params.verdict)
        try:
            self._recorder.corrected(params.attempt, params.verdict)
        except StoreError as error:
            raise SessionError(str(error)) from error

    def stop(self) -> None:
        """End the session as abandoned, whatever it is doing."""
        self._stopping.set()

    # The loop

    async def run(self) -> None:
        """Run to the end, SessionFinished or SessionFailed; cancelling it before is a crash.

        Where it is done, texts without soft labels are scored after that.
        """
        try:
            self._begin()
            while (task := state.task(self._state)) is not None:
                self._apply(await self._unless_stopped(self._perform(task)))
            if self._state.status is SessionStatus.DONE:
                await self._labeller.finish(self._worker)
        except (TeacherError, ChannelError, StoreError) as error:
            self._fail(str(error))
        except Exception as error:
            self._fail(f"The engine met an error of its own ({type(error).__name__}: {error}).")
            raise

    def _begin(self) -> None:
        if self._resumed is None:
            kept = settings(self._params, self._state.limits, self._instance)
            self._recorder.start(self._params, kept)
            names = tuple(teacher.name for teacher in self._teachers)
            self._emit(e.SessionStarted(self.uid, self._params.document, self._params.request, names))
            return
        self._evidence = self._recorder.resume(self._state.attempt)
        self._questions.open(self._state)
        for told in retell(self._resumed, self._evidence, self._recorder.ended):
            self._emit(told)

    async def _unless_stopped(self, work: Coroutine[Any, Any, h.Event]) -> h.Event:
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # What the user has already answered counts, even if they stop in the same moment.
            return await working if working.done() else h.Stopped()
        except asyncio.CancelledError:
            # At once: ending what is being done may take longer than anybody waits.
            self._crashed()
            raise
        finally:
            for pending in (working, stopping):
                pending.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)

    def _apply(self, event: h.Event) -> None:
        before = self._state
        transition = workflow.advance(before, event)
        stored = self._recorder.write(before, event, transition.records, self._evidence)
        self._state = transition.state
        self._questions.open(self._state)
        names = [teacher.name for teacher in self._workers]
        for told in narrate(self.uid, names, before, event, self._state, stored, self._evidence):
            self._emit(told)

    def _fail(self, message: str) -> None:
        self._crashed()
        self._emit(e.SessionFailed(self.uid, message))

    def _crashed(self) -> None:
        if self._state.phase is not Phase.FINISHED:
            # Where the store itself is what failed, the session stays open in it.
            with contextlib.suppress(StoreError):
                self._recorder.crashed()

    # The tasks

    async def _perform(self, task: h.Task) -> h.Event:
        match task:
            case h.AskPlanner() if self._instance.edges.request is Place.LEAD:
                return h.Planned((task.request,))
            case h.AskPlanner():
                return h.Planned(await self._consultant.plan(self._state, task))
            case h.AskLead():
                return h.Instructed(await self._consultant.instruct(self._state, task))
            case h.AskWorker():
                return await self._work(task)
            case h.Execute(script):
                return await self._execute(script)
            case h.AskUser():
                return await self._labeller.during(self._questions.hear_answer(), self._worker)
            case h.ReadFeedback():
                return await self._read_feedback(task)
            case h.AskForHelp():
                return await self._labeller.during(self._questions.hear_help(), self._worker)

    async def _work(self, task: h.AskWorker) -> h.Event:
        produced, reply = await self._consultant.work(self._state, task)
        self._evidence = Evidence(
            teacher=self._workers[task.teacher].name,
            exchange=reply.exchange if reply else None,
            seconds=reply.seconds if reply else None,
        )
        return produced

    async def _execute(self, script: str) -> h.Event:
        if self._instance.edges.worker is Place.USER:
            return h.Executed(Outcome.OK, "")
        candidate = Candidate(
            text=script,
            before=self._state.step_script,
            name=self._params.document,
            language=self._params.language,
            kind=self._instance.document,
            workspace=self._root,
            allowed=self._params.execute,
            unprotected=self._params.unprotected,
        )
        execution = await run_fairly(lambda: self._instance.executing.run(candidate))
        self._evidence = evolve(self._evidence, execution=execution)
        failed = execution.outcome is Outcome.SCRIPT_ERROR
        return h.Executed(execution.outcome, trim_traceback(execution.output) if failed else execution.output)

    async def _read_feedback(self, task: h.ReadFeedback) -> h.Event:
        verdict = await self._consultant.read_feedback(self._state, task)
        if verdict is None:
            return h.Unclear()
        texts = self._state.amended, self._state.document
        return h.Answered(verdict, task.words, *texts, DecidedBy.ANALYZER)

    @property
    def _worker(self) -> str:
        """The worker's teacher."""
        return self._workers[self._state.teacher].name

    def _read(self, before: str, text: str) -> str:
        return self._instance.document.read(before, text, self._root)
