"""What the dataset holds.

Counted by `python -m dorpo stats` and not here: opening the store loads a library and may have to wait for a
writer, and this process never waits.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import Any

import attrs

from precision_shaking.lsp import protocol
from precision_shaking.lsp.rpc import RefusedError, request
from precision_shaking.lsp.server import Server


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.DATASET_STATS, protocol.Nothing)
    async def stats(_: protocol.Nothing) -> protocol.DatasetStatsResult:
        names = {field.name for field in attrs.fields(protocol.DatasetStatsResult)}
        found = await _count(server)
        return protocol.DatasetStatsResult(**{name: found[name] for name in names})


async def _count(server: Server) -> dict[str, Any]:
    database = (await server.settings_now()).database
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "dorpo", "stats", "--json"],
        *(["--db", str(database)] if database else []),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        output, complaint = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        raise RefusedError(lines[-1] if lines else "The dataset cannot be read.")
    counted: dict[str, Any] = json.loads(output)
    return counted
