"""The user's own model: what a training learned as a GGUF file, made by `python -m dorpo merge`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

from precision_shaking.lsp.rpc import RefusedError

# Whichever of them is there; a training that broke off may have left neither.
_LEARNED = ("adapter_model.safetensors", "model.safetensors")
# To clear away what is half written.
_LAST_SECONDS = 10.0


def last_training(home: Path) -> Path:
    """The folder of the last training that learned anything.

    Raises:
        RefusedError: There is none.
    """
    found = [path for name in _LEARNED for path in (home / "trainings").glob(f"*/{name}")]
    if not found:
        raise RefusedError("There is no trained model yet: train one first.")
    return max(found, key=lambda path: path.stat().st_mtime).parent


async def make(training: Path, home: Path) -> str:
    """The model of a training as the worker's setting names it; made where it is not there yet.

    Cancelling it leaves nothing behind.

    Args:
        training: The folder that the training wrote.
        home: The user's data folder; models are kept in `models/` there.

    Raises:
        RefusedError: It cannot be made; the sentence is the command's own.
    """
    folder = home / "models" / training.name
    if not folder.exists():
        await _merge(training, folder)
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise RefusedError(
            f"This student came from no GGUF file, so that only llama.cpp can make one of {folder}: "
            "see `python -m dorpo merge --help`."
        )
    return f"embedded/{files[0]}"


async def _merge(training: Path, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-P", "-m", "dorpo", "merge"],
        *["--trained", str(training), "--output", str(folder)],
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=PIPE,
        # Ctrl+C at the terminal of an editor is not meant for it.
        start_new_session=True,
    )
    try:
        _, complaint = await process.communicate()
    except asyncio.CancelledError:
        await asyncio.shield(_end(process))
        raise
    if process.returncode != 0:
        lines = complaint.decode("utf-8", "replace").strip().splitlines()
        raise RefusedError(lines[-1] if lines else "The model could not be merged.")


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        await asyncio.wait_for(process.wait(), _LAST_SECONDS)
    except TimeoutError:
        process.kill()
