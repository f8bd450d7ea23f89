"""The optimising process, seen from the command that started it. Ending it leaves nothing half done."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable

import cattrs

from precision_shaking.sape.optimizing.job import Compiled, Job, Message
from precision_shaking.sape.process import kill_group

# A line carries a program, whose examples are whole scripts.
_LINE_LIMIT = 64 * 1024 * 1024
_GRACE_SECONDS = 3.0
_COMMAND = (sys.executable, "-P", "-m", "precision_shaking.sape.optimizing.child")


class OptimizingError(Exception):
    """Nothing came of it; the message is one sentence for the user."""


async def compile_programs(job: Job, on_progress: Callable[[str], None]) -> list[Compiled]:
    """Have every task of a job done. Cancelling it ends the process and everything it runs.

    Raises:
        OptimizingError: The teacher failed, or the process did.
    """
    try:
        child = await asyncio.create_subprocess_exec(
            *_COMMAND,
            stdin=PIPE,
            stdout=PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LINE_LIMIT,
            # A Ctrl+C in the terminal is for the command, which then ends this one.
            start_new_session=True,
        )
    except OSError as error:
        raise OptimizingError(f"The optimizer cannot be started: {error.strerror or error}.") from error
    try:
        return await _listen(child, job, on_progress)
    finally:
        await _end(child)


async def _listen(child: Process, job: Job, on_progress: Callable[[str], None]) -> list[Compiled]:
    if child.stdin is None or child.stdout is None:
        raise OptimizingError("The optimizer has no pipes.")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(json.dumps(cattrs.unstructure(job)).encode() + b"\n")
        await child.stdin.drain()
    done: list[Compiled] = []
    while len(done) < len(job.tasks):
        line = await child.stdout.readline()
        if not line:
            raise OptimizingError("The optimizer stopped unexpectedly; try it again.")
        message = cattrs.structure(json.loads(line), Message)
        if message.failure is not None:
            raise OptimizingError(message.failure)
        if message.progress is not None:
            on_progress(message.progress)
        if message.compiled is not None:
            done.append(message.compiled)
    return done


async def _end(child: Process) -> None:
    """Close its input, which ends it; kill it when it does not end in time."""
    if child.stdin is not None:
        child.stdin.close()
    try:
        await asyncio.wait_for(child.wait(), _GRACE_SECONDS)
    except TimeoutError:
        kill_group(child)
        await child.wait()
    except asyncio.CancelledError:
        kill_group(child)
        raise
