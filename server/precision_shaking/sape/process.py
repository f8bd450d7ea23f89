"""The engine as a child process, seen from the process that started it.

The client starts `precision-shaking engine`, sends it requests and hands its events on. One engine serves one
session: killing it cancels whatever it is doing. It ends by itself when its standard input closes, so it
never outlives the process that started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from attrs import define, field

from precision_shaking.sape import wire
from precision_shaking.sape.event_json import UnknownEventError, from_json
from precision_shaking.sape.events import SessionEvent, SessionFailed, SessionFinished

# One line carries a whole script twice (base and proposal), escaped.
_LINE_LIMIT = 64 * 1024 * 1024
_GRACE_SECONDS = 2.0


class EngineError(Exception):
    """The engine refused a request or is gone; the message is one sentence for the user."""


def engine_command() -> list[str]:
    """How the engine is started: this interpreter, without the working directory on its module path."""
    return [sys.executable, "-P", "-m", "precision_shaking", "engine"]


def kill_group(leader: asyncio.subprocess.Process) -> None:
    """End a process that was started as the leader of a session of its own, with everything in its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(leader.pid, signal.SIGKILL)
        else:
            leader.kill()


@define(eq=False)
class EngineProcess:
    """A running engine. Made by `start`; every method must be called on the loop that started it."""

    _process: asyncio.subprocess.Process
    _on_event: Callable[[SessionEvent], None]
    _pending: dict[int, asyncio.Future[dict[str, Any]]] = field(factory=dict)
    _next_id: int = 1
    _session: str = ""
    _ended: bool = False
    _grace_seconds: float = _GRACE_SECONDS
    _readers: list[asyncio.Task[None]] = field(factory=list)
    _complaints: bytearray = field(factory=bytearray)

    @classmethod
    async def start(
        cls,
        on_event: Callable[[SessionEvent], None],
        *,
        command: Sequence[str] | None = None,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> EngineProcess:
        """Start an engine.

        Args:
            on_event: Called on the loop with each event in order. An engine that dies unasked says so with a
                `SessionFailed`, unless the session had ended.
            command: Instead of `engine_command()`.
            grace_seconds: How long it may take to end before it is killed.

        Raises:
            EngineError: It cannot be started.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *(command or engine_command()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                # A Ctrl+C in the terminal is for the client, which then stops the session properly.
                start_new_session=True,
            )
        except OSError as error:
            raise EngineError(f"The engine cannot be started: {error.strerror or error}.") from error
        engine = cls(process, on_event, grace_seconds=grace_seconds)
        engine._readers = [
            asyncio.create_task(engine._read_messages()),
            asyncio.create_task(engine._read_stderr()),
        ]
        return engine

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    async def begin(self, params: wire.StartParams) -> wire.StartResult:
        """Start the session; how it began."""
        result = wire.read_params(await self.request("start", wire.to_params(params)), wire.StartResult)
        self._session = result.session
        return result

    async def resume(self, params: wire.ResumeParams) -> wire.StartResult:
        """Go on with a session that broke off; how it began."""
        result = await self.request("resume", wire.to_params(params))
        self._session = params.session
        return wire.read_params(result, wire.StartResult)

    async def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for something and wait for the result.

        Raises:
            EngineError: The request was refused, or the engine ended before it answered.
        """
        if self._ended:
            raise EngineError("The engine has ended; start a new session.")
        number, self._next_id = self._next_id, self._next_id + 1
        line = _encoded({"id": number, "method": method, "params": params or {}})
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            await self._send(line)
            return await future
        finally:
            self._pending.pop(number, None)

    async def answer(self, params: wire.AnswerParams) -> None:
        """Say what the user thinks of the proposal."""
        await self.request("answer", wire.to_params(params))

    async def help(self, params: wire.HelpParams) -> None:
        """Say how to go on after every teacher failed."""
        await self.request("help", wire.to_params(params))

    async def correct(self, params: wire.CorrectParams) -> None:
        """Say what the user meant by words that were read as something else."""
        await self.request("correct", wire.to_params(params))

    async def stop(self) -> None:
        """End the session as abandoned, then the process; kill it when it does not end in time."""
        if not self._ended:
            with contextlib.suppress(EngineError, TimeoutError):
                await asyncio.wait_for(self.request("stop"), self._grace_seconds)
                # It ends by itself once the end of the session is stored; a closed input would be a crash.
                await asyncio.wait_for(self._process.wait(), self._grace_seconds)
        await self.close()

    async def close(self) -> None:
        """Close the engine's input, which ends it, and wait until it is gone; its session can be resumed."""
        self._ended = True
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), self._grace_seconds)
        except TimeoutError:
            self.kill()
        await self.wait()

    async def wait(self) -> int:
        """Wait until the process is gone and everything it said has been handed on; its exit status."""
        status = await self._process.wait()
        await asyncio.gather(*self._readers)
        return status

    async def until_gone(self, events: asyncio.Queue[SessionEvent]) -> AsyncIterator[SessionEvent]:
        """What it still tells until it is gone, out of the queue that `on_event` fills."""
        gone = asyncio.create_task(self.wait())
        while not (gone.done() and events.empty()):
            telling = asyncio.create_task(events.get())
            try:
                await asyncio.wait({gone, telling}, return_when=asyncio.FIRST_COMPLETED)
                if telling.done():
                    yield telling.result()
            finally:
                telling.cancel()

    def kill(self) -> None:
        """End the engine and its process group at once."""
        kill_group(self._process)

    async def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None:
            raise EngineError("The engine has no input.")
        try:
            stdin.write(line)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EngineError("The engine has ended; start a new session.") from error

    async def _read_messages(self) -> None:
        stdout = self._process.stdout
        if stdout is None:
            return
        try:
            while line := await stdout.readline():
                with contextlib.suppress(wire.WireError, UnknownEventError):
                    self._handle(wire.decode(line))
        finally:
            # Whatever ended the reading: nobody may wait for an answer that cannot come any more.
            self._end()

    def _handle(self, message: dict[str, Any]) -> None:
        if message.get("method") == "event":
            event = from_json(message["params"])
            self._ended = self._ended or isinstance(event, SessionFinished | SessionFailed)
            self._on_event(event)
            return
        future = self._pending.get(message.get("id", 0))
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(EngineError(message["error"]["message"]))
        else:
            future.set_result(message.get("result") or {})

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        while stderr is not None and (chunk := await stderr.read(4096)):
            self._complaints += chunk
            del self._complaints[:-4096]

    def _end(self) -> None:
        ended, self._ended = self._ended, True
        for future in self._pending.values():
            if not future.done():
                future.set_exception(EngineError("The engine has ended; start a new session."))
        if not ended:
            self._on_event(
                SessionFailed(self._session, "The engine stopped unexpectedly; the session can be resumed.")
            )


def _encoded(message: dict[str, Any]) -> bytes:
    """A message as a line.

    Raises:
        EngineError: A text in it is none, which an editor's documents can be.
    """
    try:
        return wire.encode(message)
    except UnicodeEncodeError as error:
        raise EngineError(
            f"The text has half of a character (U+{ord(error.object[error.start]):04X}), which no model can "
            "read: remove it and try again."
        ) from error
