"""The dataset, by the command `python -m dorpo`.

Not in this process: opening the store loads a library and may have to wait for a writer, and a server never
waits.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING

from precision_shaking.lsp.rpc import RefusedError

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server


async def run_dorpo(server: Server, *words: str) -> str:
    """Run a subcommand on the user's dataset; what it writes.

    Raises:
        RefusedError: It failed; the sentence is its own.
    """
    database = (await server.settings_now()).database
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "dorpo", *words],
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
    return output.decode()
