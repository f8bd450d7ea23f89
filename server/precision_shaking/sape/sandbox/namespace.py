"""The first process of a script's pid namespace: with it, the kernel ends every other process inside."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress

# Bubblewrap writes its JSON object in pieces: the number is complete when something follows it.
_PID = re.compile(rb'"child-pid"\s*:\s*(\d+)[,\s}]')


class FirstProcess:
    """Held by a descriptor: its number could come to mean another process. Needs a running event loop."""

    def __init__(self, told: int) -> None:
        """Wait for bubblewrap's word.

        Args:
            told: Reading end, non-blocking, of the pipe on which bubblewrap tells the process' pid.
        """
        self.pid: int | None = None
        self._told = told
        self._words = b""
        self._heard = asyncio.Event()
        self._descriptor = -1
        self._loop = asyncio.get_running_loop()
        # At once and not when it is needed: a short script would be gone by then.
        self._loop.add_reader(told, self._learn)

    async def known(self, seconds: float) -> None:
        """Wait for bubblewrap's word, at most so long.

        Before that it must not be killed: its child would not know yet that it has to die with it.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), seconds)

    def kill(self) -> None:
        """Kill the whole namespace, if it is known and alive."""
        if self._descriptor >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def gone(self, seconds: float) -> None:
        """Wait until nothing of the namespace is left, at most so long."""
        if self._descriptor < 0:
            return
        over = asyncio.Event()
        self._loop.add_reader(self._descriptor, over.set)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), seconds)
        finally:
            self._loop.remove_reader(self._descriptor)

    def close(self) -> None:
        """Let go of it."""
        self._loop.remove_reader(self._told)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _learn(self) -> None:
        try:
            words = os.read(self._told, 4096)
        except BlockingIOError:
            return
        self._words += words
        found = _PID.search(self._words)
        if found is None and words:
            return
        self._loop.remove_reader(self._told)
        self._heard.set()
        if found is not None and self.pid is None:
            with suppress(ProcessLookupError):  # all is over already
                self._descriptor = os.pidfd_open(int(found[1]))
                self.pid = int(found[1])
