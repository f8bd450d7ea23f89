"""How much memory is left: on a device, of the machine, of the container around the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from dorpo import processes

_GROUPS = Path("sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """What is left on a device beside all that is loaded already; None where it does not say."""
    if device.type == "cuda":
        # What torch holds for its next tensors is as good as free.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    if device.type != "cpu":
        return None
    rooms = [int(psutil.virtual_memory().available)]
    if (room := container_room()) is not None:
        rooms.append(room)
    # Pages of files count as available, and the libraries and weights that are mapped from them are needed.
    mapped = getattr(psutil.Process().memory_info(), "shared", 0)
    return max(0, min(rooms) - int(mapped))


def free_for_each(device: torch.device) -> int | None:
    """What each of the processes of a training may take. All of them must call it, and learn the same."""
    found = processes.gathered(free_bytes(device))
    known = [free for free in found if free is not None]
    if len(known) < len(found):
        return None
    # A GPU is a process's own; what is left of the machine, all of them share.
    return min(known) if device.type == "cuda" else min(known) // len(known)


def container_room(root: Path = Path("/")) -> int | None:
    """What the limits of control groups leave, version 2 or 1; None where there is no limit.

    A limit of a group holds for all groups in it together, so each one on the way up is asked. Files that the
    kernel only keeps as long as there is room are no use of it.

    Args:
        root: Of the file system.
    """
    rooms = [limit - used for limit, used in _limits(root) if limit is not None]
    return max(0, min(rooms)) if rooms else None


def _limits(root: Path) -> Iterator[tuple[int | None, int]]:
    """(limit or None, use) of every group that the process is in."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            top, names = (
                root / _GROUPS / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
            )
        elif not controllers:
            top, names = root / _GROUPS, ("memory.max", "memory.current", "")
        else:
            continue
        # Inside of a container the path may be that of the machine, which is not to be seen from there.
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _limit(folder, *names)


def _limit(folder: Path, limit: str, use: str, prefix: str) -> Iterator[tuple[int | None, int]]:
    try:
        most, used = ((folder / name).read_text(encoding="utf-8").strip() for name in (limit, use))
        pairs = (line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        stat = {name: int(value) for name, value in pairs}
    except OSError:
        return
    cache = stat.get(f"{prefix}active_file", 0) + stat.get(f"{prefix}inactive_file", 0)
    yield None if most == "max" else int(most), int(used) - cache
