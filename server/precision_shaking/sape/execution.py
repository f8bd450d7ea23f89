"""Running a script that a model wrote: under bubblewrap where it works, as a bounded process elsewhere.

The switch between the two, and the one that turns execution off, belong to the user; no model can reach them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path, PurePath

from attrs import evolve, frozen

from precision_shaking.sape.sandbox.bubblewrap import (
    WORK_FOLDER,
    bubblewrap_folder_launch,
    bubblewrap_launch,
)
from precision_shaking.sape.sandbox.diagnosis import diagnose
from precision_shaking.sape.sandbox.failure import last_failure
from precision_shaking.sape.sandbox.interpreter import Interpreter, InterpreterError, find_interpreter
from precision_shaking.sape.sandbox.limits import ExecutionLimits
from precision_shaking.sape.sandbox.probe import Isolation, probe
from precision_shaking.sape.sandbox.process import process_folder_launch, process_launch
from precision_shaking.sape.sandbox.supervision import Ending, Launch, run
from precision_shaking.sape.vocabulary import Outcome

__all__ = [
    "Backend",
    "Execution",
    "ExecutionLimits",
    "Isolation",
    "execute",
    "execute_in_copy",
    "isolation",
    "trim_traceback",
]


class Backend(StrEnum):
    """What stands between a script and the machine.

    `BUBBLEWRAP` isolates it; `PROCESS` only bounds it: it can read the user's files and reach the network;
    `NONE` does not run it.
    """

    BUBBLEWRAP = "bubblewrap"
    PROCESS = "process"
    NONE = "none"


@frozen
class Execution:
    """What came of running a script.

    Attributes:
        outcome: How it ended; only `SCRIPT_ERROR` is the script's own fault.
        output: stdout and stderr in their order, without control sequences; a long one lacks its middle.
        exit_code: As a shell counts (128 + number for a signal); None when the script was not run.
        seconds: Wall-clock time.
        backend: `bubblewrap`, `process` or `none`.
        detail: One sentence for the user; empty when it simply worked.
    """

    outcome: Outcome
    output: str
    exit_code: int | None
    seconds: float
    backend: str
    detail: str


async def execute(
    script: str,
    *,
    file_name: str = "script.py",
    language: str = "python",
    interpreter: str | None = None,
    limits: ExecutionLimits = ExecutionLimits(),  # noqa: B008 - frozen
    backend: Backend | None = None,
) -> Execution:
    """Run a copy of a script and say how it ended. Cancelling kills everything it started.

    Nothing it writes is read back but its output. Call it from the thread that lives as long as the program.

    Args:
        script: The whole source text.
        file_name: Name of the copy; folders in it are ignored.
        language: Only `python` is run.
        interpreter: Name or path of the Python to use; None for the one this program runs under.
        limits: What the script may use.
        backend: None takes bubblewrap where it works, otherwise a process.
    """
    if language != "python":
        return _not_run("Only Python scripts are run: look at the proposal and decide yourself.")
    if os.name != "posix":
        return _not_run("Scripts cannot be run safely on Windows: open the folder in WSL 2 to have them run.")
    try:
        source = script.encode()
    except UnicodeEncodeError:
        fault = "The script has characters that are not valid Unicode."
        return Execution(Outcome.SCRIPT_ERROR, fault, None, 0.0, Backend.NONE, fault)
    name = _plain_name(file_name)
    try:
        # Asking an interpreter and trying bubblewrap take a while the first time.
        choice = await asyncio.to_thread(_choose, interpreter, backend)
        if choice.backend is Backend.NONE:
            return await _only_compile(source, name, choice, limits)
        with _launch(source, name, choice, limits) as launch:
            ending = _without_place(await run(launch, limits), launch)
    except (InterpreterError, OSError) as error:
        return _not_run(str(error))
    outcome, detail = diagnose(ending, limits)
    return Execution(outcome, ending.output, ending.exit_code, ending.seconds, choice.backend, detail)


async def execute_in_copy(
    folder: Path,
    command: Sequence[str],
    *,
    limits: ExecutionLimits = ExecutionLimits(),  # noqa: B008 - frozen
    backend: Backend | None = Backend.BUBBLEWRAP,
) -> Execution:
    """Run a command in a copy of a folder and say how it ended, as `execute` does for a script.

    Args:
        folder: What is copied; it stays as it is. Everybody has to be allowed to read it.
        command: The words of the command; a first word `python` is the interpreter this program runs under.
        limits: What it may use.
        backend: As for `execute`; unless the user agreed to something else, it is isolated or not run.
    """
    if os.name != "posix":
        return _not_run(
            "Commands cannot be run safely on Windows: open the folder in WSL 2 to have them run."
        )
    choice = await asyncio.to_thread(_choose, None, backend)
    if choice.backend is Backend.NONE:
        return _not_run(choice.why)
    program, *words = command
    argv = [choice.python.executable if program == "python" else program, *words]
    try:
        with _folder_launch(folder, argv, choice, limits) as launch:
            ending = _without_place(await run(launch, limits), launch)
    except OSError as error:
        return _not_run(str(error))
    outcome, detail = diagnose(ending, limits)
    return Execution(outcome, ending.output, ending.exit_code, ending.seconds, choice.backend, detail)


def _folder_launch(
    folder: Path, command: Sequence[str], choice: _Choice, limits: ExecutionLimits
) -> AbstractContextManager[Launch]:
    if choice.backend is Backend.BUBBLEWRAP:
        return bubblewrap_folder_launch(folder, command, choice.python, limits, as_root=choice.as_root)
    return process_folder_launch(folder, command, choice.python, limits)


async def isolation(interpreter: str | None = None) -> Isolation:
    """Say whether scripts of this interpreter can be isolated here, and if not, why and what would help.

    Raises:
        InterpreterError: There is no such interpreter.
    """
    return await asyncio.to_thread(lambda: probe(find_interpreter(interpreter)))


def trim_traceback(output: str, max_chars: int = 2000) -> str:
    """Return the part of an output that says what went wrong, of at most `max_chars` characters.

    It is the last traceback with the errors that led to it, or else the end of the output.
    """
    failure = last_failure(output)
    if failure is None:
        return output.strip()[-max_chars:]
    text = output[failure.start :].strip()
    if len(text) <= max_chars:
        return text
    gap = "\n[...]\n"
    # The last call and the message stand at the end and matter more than where it began.
    head = (max_chars - len(gap)) // 4
    tail = max_chars - len(gap) - head
    return text[:head] + gap + text[-tail:] if head > 0 else text[-max_chars:]


@frozen
class _Choice:
    backend: Backend
    python: Interpreter
    as_root: bool = False
    why: str = ""


def _choose(interpreter: str | None, wanted: Backend | None) -> _Choice:
    python = find_interpreter(interpreter)
    if wanted is Backend.NONE:
        return _Choice(wanted, python, why="Running scripts is turned off: look at the proposal and decide.")
    if wanted is Backend.PROCESS:
        return _Choice(wanted, python)
    found = probe(python)
    if found.works:
        return _Choice(Backend.BUBBLEWRAP, python, found.as_root)
    fallback = Backend.PROCESS if wanted is None else Backend.NONE
    return _Choice(fallback, python, why=found.why)


def _launch(
    source: bytes, name: str, choice: _Choice, limits: ExecutionLimits
) -> AbstractContextManager[Launch]:
    if choice.backend is Backend.BUBBLEWRAP:
        return bubblewrap_launch(source, name, choice.python, limits, as_root=choice.as_root)
    return process_launch(source, name, choice.python, limits)


async def _only_compile(source: bytes, name: str, choice: _Choice, limits: ExecutionLimits) -> Execution:
    """Find syntax errors, which needs no trust in the script: nothing of it is run."""
    with process_launch(source, name, choice.python, limits, only_compile=True) as launch:
        ending = _without_place(await run(launch, limits), launch)
    outcome, detail = diagnose(ending, limits)
    if outcome is not Outcome.SCRIPT_ERROR:
        return _not_run(choice.why)
    return Execution(outcome, ending.output, ending.exit_code, ending.seconds, Backend.NONE, detail)


def _without_place(ending: Ending, launch: Launch) -> Ending:
    """Name the folder as in the sandbox: a random one would be learnt from, and differ at every run."""
    if launch.folder == "/":
        return ending
    return evolve(ending, output=ending.output.replace(launch.folder, WORK_FOLDER))


def _plain_name(file_name: str) -> str:
    name = PurePath(file_name.replace("\0", "")).name
    return name if 0 < len(os.fsencode(name)) < 200 and name != ".." else "script.py"


def _not_run(why: str) -> Execution:
    return Execution(Outcome.SANDBOX_UNAVAILABLE, "", None, 0.0, Backend.NONE, why)
