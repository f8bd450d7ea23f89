"""The dataset, by the commands `python -m dorpo` and `precision-shaking`.

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
    """Run a subcommand of `dorpo`; see `run_module`."""
    return await run_module(server, "dorpo", *words)


async def run_module(server: Server, module: str, *words: str) -> str:
    """Run a module's subcommand on the user's dataset; what it writes.

    Raises:
        RefusedError: It failed; the sentence is its own.
    """
    database = (await server.settings_now()).database
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", module, *words],
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
        sentence = lines[-1].removeprefix("precision-shaking: ") if lines else "The dataset cannot be read."
        raise RefusedError(sentence)
    return output.decode()
