"""The Python that runs the user's scripts, and the folders it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from attrs import frozen

_ASK = "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix]))"
_ASK_SECONDS = 10
# Only these of a prefix: of a virtual environment made in a project's root the rest is the project.
_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")


class InterpreterError(Exception):
    """The interpreter cannot be used; the message tells the user what to do."""


@frozen
class Interpreter:
    """A Python executable with the prefixes it loads its libraries from."""

    executable: str
    prefixes: tuple[Path, ...]

    def folders(self) -> tuple[Path, ...]:
        """Return the files and folders outside /usr without which the interpreter does not start."""
        prefixes = [*self.prefixes, Path(self.executable).resolve().parent.parent]
        # A prefix reached through a symbolic link needs the link's target, too.
        prefixes += [prefix.resolve() for prefix in prefixes]
        outside = dict.fromkeys(p for p in prefixes if not p.is_relative_to("/usr"))
        return tuple(path for prefix in outside for part in _PARTS if (path := prefix / part).exists())


@cache
def find_interpreter(name: str | None) -> Interpreter:
    """Find the interpreter of this name or path; None means the one this program runs under.

    Raises:
        InterpreterError: There is no such program, or it is no Python.
    """
    if name is None:
        return Interpreter(sys.executable, (Path(sys.prefix), Path(sys.base_prefix)))
    found = shutil.which(name)
    if found is None:
        raise InterpreterError(f"There is no Python interpreter {name}: choose another one in the settings.")
    # Asking also finds the real program behind a version manager's wrapper.
    try:
        answer = subprocess.run(  # noqa: S603 - the user named this program
            [found, "-I", "-c", _ASK], capture_output=True, timeout=_ASK_SECONDS, check=True
        )
        executable, prefix, base = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InterpreterError(
            f"{name} does not work as a Python interpreter: choose another one."
        ) from error
    return Interpreter(executable, (Path(prefix), Path(base)))
