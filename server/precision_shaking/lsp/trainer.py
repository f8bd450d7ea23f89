"""The trainer as a detached process: started, listened to, interrupted.

It has a session of its own and writes into a file, so that closing the editor does not end hours of work. It
holds a lock as long as it lives: whoever starts a second training finds out without asking anybody.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from attrs import define

from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.settings import Settings

if sys.platform != "win32":
    import fcntl

# How often the trainer's output is looked at; its steps take longer.
_LOOK_SECONDS = 0.1
PROGRESS_FILE = "progress.jsonl"
# Locked as long as a training runs; holds its process id.
LOCK_FILE = ".training.lock"
_COMPLAINTS_FILE = "stderr.txt"


@define(eq=False)
class Trainer:
    """A running trainer and the folder it writes to."""

    output: Path
    _process: subprocess.Popen[bytes]
    interrupted: bool = False
    _read: int = 0

    @classmethod
    def start(cls, settings: Settings, home: Path) -> Trainer:
        """Start a training of the student.

        Args:
            settings: Dataset, student and number of steps.
            home: The user's data folder; results are kept in `trainings/` there.

        Raises:
            RefusedError: One is running already, or the trainer cannot be started.
        """
        trainings = home / "trainings"
        try:
            trainings.mkdir(parents=True, exist_ok=True)
            lock = (trainings / LOCK_FILE).open("ab")
        except OSError as error:
            raise RefusedError(f"{trainings} cannot be written: {error.strerror}.") from error
        with lock:
            _lock(lock)
            output = trainings / f"{_slug(settings.student)}-{datetime.now():%Y%m%d-%H%M%S}"
            output.mkdir(exist_ok=True)
            process = _spawn(_command(settings, home, output), output, lock)
            lock.truncate(0)
            lock.write(f"{process.pid}\n".encode())
            return cls(output, process)

    def interrupt(self) -> None:
        """Ask the trainer to save what it has learned and to end."""
        if self._process.poll() is None:
            self.interrupted = True
            self._process.send_signal(signal.SIGINT)

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the trainer says, until it has ended."""
        while True:
            ended = self._process.poll() is not None
            for message in self._news():
                yield message
            if ended:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    @property
    def complaint(self) -> str:
        """The last line the trainer wrote to stderr: its sentence about bad input."""
        text = (self.output / _COMPLAINTS_FILE).read_text("utf-8", "replace").strip()
        return text.splitlines()[-1] if text else "The trainer ended without saying why."

    @property
    def exit_code(self) -> int | None:
        """The trainer's exit status; None while it runs."""
        return self._process.poll()

    def _news(self) -> list[dict[str, Any]]:
        """The complete lines since last time; what is no JSON object is skipped."""
        with (self.output / PROGRESS_FILE).open("rb") as file:
            file.seek(self._read)
            data = file.read()
        complete = data[: data.rfind(b"\n") + 1]
        self._read += len(complete)
        messages = []
        for line in complete.splitlines():
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                messages.append(message)
        return messages


def _command(settings: Settings, home: Path, output: Path) -> list[str]:
    database = settings.database or home / "dataset.db"
    return [
        *[sys.executable, "-P", "-m", "dorpo", "train", "--json"],
        *["--db", str(database), "--student", settings.student],
        *["--output", str(output), "--max-steps", str(settings.training_steps)],
    ]


def _spawn(command: list[str], output: Path, lock: IO[bytes]) -> subprocess.Popen[bytes]:
    with (output / PROGRESS_FILE).open("wb") as out, (output / _COMPLAINTS_FILE).open("wb") as complaints:
        return subprocess.Popen(  # noqa: S603 (our own module, arguments as a list)
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=complaints,
            start_new_session=True,
            # The lock is the open file's, and the trainer inherits it.
            pass_fds=(lock.fileno(),) if os.name == "posix" else (),
        )


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RefusedError("A training is running already; wait for it or cancel it first.") from None


def _slug(student: str) -> str:
    """A student's name as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", Path(student).name).strip("-.") or "student"
