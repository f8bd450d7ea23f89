"""What a script wrote: read without blocking, kept within bounds, made safe to show."""

from __future__ import annotations

import asyncio
import os
import re
from types import TracebackType
from typing import Self

_CHUNK = 64 * 1024
# Every alternative stops at the next escape character, so that hostile output is still read in linear time.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]?"  # colours, cursor movements
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"  # titles, links, device strings
    r"|\x1b[ -/]*[0-~]?"
)
# Line feed and tab stay. Direction overrides go too: they make text look like other text.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class BoundedBytes:
    """The beginning and the end of a byte stream, never more than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._head_limit = (limit + 1) // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total += len(data)
        room = self._head_limit - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # Cutting only at twice the limit keeps a stream of single bytes linear.
        if len(self._tail) > 2 * self._tail_limit + _CHUNK:
            del self._tail[: len(self._tail) - self._tail_limit]

    def text(self) -> str:
        """What was kept, readable; a line in the middle says how many bytes were left out."""
        tail = bytes(self._tail[max(0, len(self._tail) - self._tail_limit) :])
        missing = self.total - len(self._head) - len(tail)
        if missing == 0:
            return readable(bytes(self._head) + tail)
        return f"{readable(bytes(self._head))}\n[... {missing} bytes left out ...]\n{readable(tail)}"


class OutputPipe:
    """One pipe for stdout and stderr, so that their order survives. Use within a running event loop."""

    def __init__(self, keep: int, flood: int) -> None:
        self.kept = BoundedBytes(keep)
        self._flood = flood
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._reader, self._take)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_writer()
        self._loop.remove_reader(self._reader)
        os.close(self._reader)

    @property
    def flooded(self) -> bool:
        """More came than a script may write; nothing is read any more, so the script blocks."""
        return self.kept.total > self._flood

    def close_writer(self) -> None:
        """Give up this process' own writing end once the child has it."""
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def drain(self) -> None:
        """Take what is left in the pipe, without waiting for processes that still hold it."""
        while self._take():
            pass

    def _take(self) -> bool:
        try:
            data = b"" if self.flooded else os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._reader)
            return False
        self.kept.add(data)
        return True


def readable(data: bytes) -> str:
    """Decode output as UTF-8 with replacements, without escape sequences and control characters."""
    text = data.decode("utf-8", "replace")
    text = _ESCAPES.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)
