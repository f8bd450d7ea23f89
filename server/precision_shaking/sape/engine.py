"""The engine process: one session, spoken to by JSON lines on standard input and output.

It ends when its session has ended, and at once when its input closes: it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field

from dorpo.store import default_path
from precision_shaking.sape import events, wire
from precision_shaking.sape.environment import quieten
from precision_shaking.sape.event_json import to_json

if TYPE_CHECKING:
    from precision_shaking.sape.opening import Opened
    from precision_shaking.sape.session import Session

_CHUNK = 65536
# To kill a running script and to write down that the session broke off; nobody is left to wait longer.
_LAST_SECONDS = 1.5


def main() -> None:
    """Serve one session, then end the process."""
    output = _take_stdout()
    quieten(default_path().parent)
    asyncio.run(_serve(output))


def _take_stdout() -> int:
    """Keep standard output for the protocol alone; whatever libraries print goes to standard error."""
    output = os.dup(1)
    os.set_inheritable(output, False)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return output


async def _serve(output: int) -> None:
    def send(message: dict[str, Any]) -> None:
        rest = memoryview(wire.encode(message))
        while rest:
            rest = rest[os.write(output, rest) :]

    lines: asyncio.Queue[bytes] = asyncio.Queue()
    engine = Engine(send)
    _read_stdin(asyncio.get_running_loop(), lines.put_nowait, engine.hang_up)
    with contextlib.suppress(BrokenPipeError):
        await engine.serve(lines)
    # Threads of a model or of a library must not keep the process alive.
    os._exit(0)


def _read_stdin(
    loop: asyncio.AbstractEventLoop, on_line: Callable[[bytes], None], on_end: Callable[[], None]
) -> None:
    """Call back on the loop with every line of standard input, and at its end.

    A thread reads, because standard input may be anything; and it reads the descriptor itself, because a
    buffered reader that waits would hold up the interpreter's end.
    """

    def call(callback: Callable[..., None], *values: bytes) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            loop.call_soon_threadsafe(callback, *values)

    def read() -> None:
        rest = b""
        while chunk := os.read(0, _CHUNK):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                call(on_line, line)
        call(on_end)

    threading.Thread(target=read, name="stdin", daemon=True).start()


@define
class Engine:
    """Answers requests and sends events, until its session ends or its input does."""

    _send: Callable[[dict[str, Any]], None]
    _opened: Opened | None = None
    _running: asyncio.Task[None] | None = None
    _ended: asyncio.Event = field(factory=asyncio.Event)

    async def serve(self, lines: asyncio.Queue[bytes]) -> None:
        """Take requests from the queue until there is no more reason to."""
        reading = asyncio.create_task(self._read(lines))
        await self._ended.wait()
        reading.cancel()
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await asyncio.wait_for(self._running, _LAST_SECONDS)
        if self._opened is not None:
            self._opened.resources.close()

    def hang_up(self) -> None:
        """Nobody listens any more: end, whatever is being done."""
        self._ended.set()

    async def _read(self, lines: asyncio.Queue[bytes]) -> None:
        while True:
            line = await lines.get()
            if line.strip():
                await self._answer(line)

    async def _answer(self, line: bytes) -> None:
        number = None
        try:
            message = wire.decode(line)
            number = message.get("id")
            result = await self._handle(message.get("method"), message.get("params") or {})
        except wire.WireError as error:
            self._send({"id": number, "error": {"code": error.code, "message": str(error)}})
            return
        except Exception as error:
            # Whatever it is: a request that is never answered leaves its user waiting for ever.
            traceback.print_exc()
            why = f"The engine stumbled over {type(error).__name__}: {error}"
            self._send({"id": number, "error": {"code": wire.REQUEST_FAILED, "message": why}})
            return
        self._send({"id": number, "result": result})
        if self._opened is not None and self._running is None:
            # Only now, so that the answer to `start` comes before the first event.
            self._running = asyncio.create_task(self._run(self._opened.session))

    async def _handle(self, method: Any, params: dict[str, Any]) -> dict[str, Any]:
        if method == "start":
            return await self._start(wire.read_params(params, wire.StartParams))
        if method == "resume":
            return await self._begin(wire.read_params(params, wire.ResumeParams))
        if self._opened is None:
            raise wire.WireError("There is no session yet.")
        session = self._opened.session
        from precision_shaking.sape.questions import SessionError

        try:
            match method:
                case "answer":
                    session.answer(wire.read_params(params, wire.AnswerParams))
                case "help":
                    session.help(wire.read_params(params, wire.HelpParams))
                case "correct":
                    session.correct(wire.read_params(params, wire.CorrectParams))
                case "stop":
                    session.stop()
                case _:
                    raise wire.WireError(f"There is no method {method!r}.", wire.METHOD_NOT_FOUND)
        except SessionError as error:
            raise wire.WireError(str(error)) from error
        return {}

    async def _start(self, params: wire.StartParams) -> dict[str, Any]:
        if not params.script.strip():
            raise wire.WireError("The document is empty: there is nothing to change.")
        if not params.request.strip():
            raise wire.WireError("Say what should change.")
        if not params.teachers and params.replay is None:
            raise wire.WireError("There is no teacher: name at least one.")
        return await self._begin(params)

    async def _begin(self, params: wire.StartParams | wire.ResumeParams) -> dict[str, Any]:
        if self._opened is not None:
            raise wire.WireError("This engine has a session already.")
        try:
            # Importing the agents takes a second or three, and the end of input must be noticed meanwhile.
            self._opened = await asyncio.to_thread(self._open, params)
        except ImportError as error:
            raise wire.WireError(
                f"The engine needs a package that is missing ({error.name}): "
                "install precision-shaking[agents]."
            ) from error
        return asdict(self._opened.result)

    def _open(self, params: wire.StartParams | wire.ResumeParams) -> Opened:
        from precision_shaking.sape.opening import open_session

        return open_session(params, self._emit)

    def _emit(self, event: events.SessionEvent) -> None:
        self._send({"method": "event", "params": to_json(event)})

    async def _run(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            self._ended.set()
