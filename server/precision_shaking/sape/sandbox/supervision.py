"""Starting a prepared command, watching its limits, and leaving nothing of it behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum

from attrs import frozen

from precision_shaking.sape.sandbox.limits import ExecutionLimits
from precision_shaking.sape.sandbox.namespace import FirstProcess
from precision_shaking.sape.sandbox.output import OutputPipe
from precision_shaking.sape.sandbox.tree import kill_tree, unshared_memory, usage

_LOOK_SECONDS = 0.05
_REAP_SECONDS = 1.0


class Stop(StrEnum):
    """Which bound made us kill the script."""

    TIME = "time"
    MEMORY = "memory"
    PROCESSES = "processes"
    OUTPUT = "output"


@frozen
class Launch:
    """A command ready to be started.

    Attributes:
        argv: The command and its arguments.
        environment: Its whole environment.
        folder: Its working folder.
        inherited: File descriptors it may keep.
        namespace: Reading end of the pipe on which bubblewrap tells the pid of its namespace's first process;
            None for a command without a namespace.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    inherited: tuple[int, ...] = ()
    namespace: int | None = None


@frozen
class Ending:
    """How a command ended.

    Attributes:
        exit_code: As a shell counts: 128 + number for a signal.
        output: What was kept of stdout and stderr, readable.
        seconds: Wall-clock time from start to end.
        stopped: The bound it broke; None when it ended by itself.
    """

    exit_code: int
    output: str
    seconds: float
    stopped: Stop | None


async def run(launch: Launch, limits: ExecutionLimits) -> Ending:
    """Run a command until it ends or breaks a bound. Cancelling kills all it started.

    Call it in a thread that lives as long as the program: the kernel ties "die with your parent" to it.

    Raises:
        OSError: The command cannot be started.
    """
    started = time.monotonic()
    with OutputPipe(limits.output_bytes, limits.flood_bytes) as pipe:
        spawning = asyncio.ensure_future(_spawn(launch, pipe.writer))
        try:
            # Left alone, asyncio would kill a half-started bubblewrap, whose child then lives on.
            child = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            await (await spawning).end()
            raise
        try:
            pipe.close_writer()
            stopped = await _watch(child, pipe, limits, started)
        finally:
            await child.end()
        seconds = time.monotonic() - started
        pipe.drain()
        return Ending(_shell_code(child.exited.result()), pipe.kept.text(), seconds, stopped)


async def _spawn(launch: Launch, output: int) -> _Child:
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=launch.environment,
        cwd=launch.folder,
        pass_fds=launch.inherited,
        start_new_session=True,
    )
    return _Child(process, launch.namespace)


class _Child:
    def __init__(self, process: asyncio.subprocess.Process, namespace: int | None) -> None:
        self.exited = asyncio.ensure_future(process.wait())
        self._process = process
        self._first = None if namespace is None else FirstProcess(namespace)

    @property
    def root(self) -> int | None:
        """Pid of the topmost process of the script's own tree, None as long as it is unknown."""
        return self._process.pid if self._first is None else self._first.pid

    async def end(self) -> None:
        """Kill what still runs and wait until it is gone."""
        if self._first is None:
            kill_tree(self._process.pid)
            await self.exited
            return
        try:
            if not self.exited.done():
                await self._first.known(_REAP_SECONDS)
            # Bubblewrap is left alive to collect the first process; otherwise that becomes init's zombie.
            self._first.kill()
            await asyncio.wait({self.exited}, timeout=_REAP_SECONDS)
            if not self.exited.done():
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self.exited
            # Bubblewrap returns as soon as the script has ended, a moment before its orphans have.
            await self._first.gone(_REAP_SECONDS)
        except asyncio.CancelledError:  # once more, by somebody who cannot wait
            self._first.kill()
            with suppress(ProcessLookupError):
                self._process.kill()
            raise
        finally:
            self._first.close()


async def _watch(child: _Child, pipe: OutputPipe, limits: ExecutionLimits, started: float) -> Stop | None:
    deadline = started + limits.seconds
    while not child.exited.done():
        left = deadline - time.monotonic()
        if left <= 0:
            return Stop.TIME
        await asyncio.wait({child.exited}, timeout=min(left, _LOOK_SECONDS))
        if pipe.flooded:
            return Stop.OUTPUT
        if not child.exited.done() and child.root is not None and (broken := _broken(child.root, limits)):
            return broken
    return None


def _broken(root: int, limits: ExecutionLimits) -> Stop | None:
    # Bubblewrap's own first process is in the tree as well.
    allowed = limits.processes + 1
    used = usage(root, enough=allowed)
    if used.tasks > allowed:
        return Stop.PROCESSES
    if used.memory_bytes > limits.memory_bytes and unshared_memory(root) > limits.memory_bytes:
        return Stop.MEMORY
    return None


def _shell_code(code: int) -> int:
    return 128 - code if code < 0 else code
