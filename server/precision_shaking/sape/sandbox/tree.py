"""A process and everything it started: what it uses, and how it is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from attrs import frozen

_PROC = Path("/proc")
_KILLED_ONE_BY_ONE = 256


@frozen
class Usage:
    """Use of a whole process tree.

    Attributes:
        memory_bytes: Resident memory; pages that several processes share are counted in each.
        tasks: Processes and threads.
    """

    memory_bytes: int
    tasks: int


def descendants(root: int) -> Iterator[int]:
    """Yield `root` and the processes below it. Empty where there is no /proc."""
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        threads = _threads(pid)
        if threads:
            yield pid
        for thread in threads:
            with suppress(OSError):  # a thread may end while it is looked at
                waiting += map(int, (thread / "children").read_bytes().split())


def usage(root: int, enough: int) -> Usage:
    """Return what the tree below `root` uses now; zeros where there is no /proc.

    It stops counting at more than `enough` tasks: a fork bomb grows faster than anybody can count it.
    """
    pages = tasks = 0
    for pid in descendants(root):
        with suppress(OSError):
            pages += int((_PROC / str(pid) / "statm").read_bytes().split()[1])
            tasks += len(_threads(pid))
        if tasks > enough:
            break
    return Usage(pages * os.sysconf("SC_PAGE_SIZE"), tasks)


def unshared_memory(root: int) -> int:
    """Return the tree's resident bytes with every shared page counted once.

    Slower than `usage`, which counts a forked process' pages again and again. Falls back to plain resident
    memory for processes that may not be looked into.
    """
    return sum(map(_share, descendants(root)))


def kill_tree(root: int) -> None:
    """Kill the process group led by `root` and the processes below it that made groups of their own."""
    # The list is taken first, for afterwards the orphans belong to somebody else. It is bounded: a fork bomb
    # grows while it is taken, and one signal to the group reaches all of the group.
    pids = list(islice(descendants(root), _KILLED_ONE_BY_ONE))
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(root, signal.SIGKILL)
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _threads(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _share(pid: int) -> int:
    folder = _PROC / str(pid)
    with suppress(OSError):
        for line in (folder / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError):
        return int((folder / "statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
