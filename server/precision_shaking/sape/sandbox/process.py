"""The plain backend: an ordinary process with limits, a clean environment and a folder of its own.

It bounds accidents, not malice: such a script reads the user's files and reaches the network.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from precision_shaking.sape.sandbox.interpreter import Interpreter
from precision_shaking.sape.sandbox.limits import ExecutionLimits
from precision_shaking.sape.sandbox.supervision import Launch

PYTHON_OPTIONS = ("-X", "faulthandler", "-B")
_COMPILING = (
    *("-I", "-S", "-W", "ignore", "-c"),
    "import sys; compile(open(sys.argv[1], 'rb').read(), sys.argv[1], 'exec')",
)
# A shell sets the limits between fork and exec, where Python code of our own would not be safe. The number of
# processes is watched instead: the kernel counts it per user, and a desktop has more of them running already.
_LIMITED = """
ulimit -St "$1"; ulimit -Ht "$2"; ulimit -v "$3" 2>/dev/null; ulimit -f "$4"; ulimit -n "$5"; ulimit -c 0
shift 5; exec "$@"
"""


def clean_environment(*, home: str, temporary: str, interpreter: Interpreter) -> dict[str, str]:
    """Return a script's whole environment: nothing of this program's own, where API keys may be."""
    return {
        "PATH": f"{Path(interpreter.executable).parent}:/usr/bin:/bin",
        "HOME": home,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "MPLBACKEND": "Agg",
        "PYTHONUTF8": "1",
        "PYTHONUNBUFFERED": "1",  # keeps the order of stdout and stderr
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "MALLOC_ARENA_MAX": "2",
    }


@contextmanager
def process_launch(
    script: bytes,
    file_name: str,
    interpreter: Interpreter,
    limits: ExecutionLimits,
    *,
    only_compile: bool = False,
) -> Iterator[Launch]:
    """Prepare a script in a private folder, which is removed at the end.

    Args:
        script: Its source, UTF-8.
        file_name: A plain name for its copy.
        interpreter: The Python to use.
        limits: What it may use.
        only_compile: Run nothing of it, only look for syntax errors.

    Raises:
        OSError: The folder cannot be made.
    """
    with _private_folder(interpreter) as (work, environment):
        path = work / file_name
        path.write_bytes(script)
        options = _COMPILING if only_compile else PYTHON_OPTIONS
        argv = (*_dies_with_us(), *_limited(limits), interpreter.executable, *options, str(path))
        yield Launch(argv, environment, str(work))


@contextmanager
def process_folder_launch(
    folder: Path, command: Sequence[str], interpreter: Interpreter, limits: ExecutionLimits
) -> Iterator[Launch]:
    """Prepare a command in a private copy of a folder, which is removed at the end.

    Raises:
        OSError: The copy cannot be made.
    """
    with _private_folder(interpreter) as (work, environment):
        shutil.copytree(folder, work, dirs_exist_ok=True)
        yield Launch((*_dies_with_us(), *_limited(limits), *command), environment, str(work))


@contextmanager
def _private_folder(interpreter: Interpreter) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder to work in, and the environment that goes with it."""
    with tempfile.TemporaryDirectory(prefix="precision-shaking-", ignore_cleanup_errors=True) as folder:
        home = Path(folder, "home")
        work = Path(folder, "script")
        temporary = Path(folder, "tmp")
        for place in (home, work, temporary):
            place.mkdir()
        yield work, clean_environment(home=str(home), temporary=str(temporary), interpreter=interpreter)


def _limited(limits: ExecutionLimits) -> tuple[str, ...]:
    values = (
        limits.cpu_seconds,
        limits.cpu_seconds + 1,  # the soft limit's signal can be told from other kills
        limits.address_space_bytes // 1024,
        limits.file_bytes // 512,
        limits.open_files,
    )
    return ("/bin/sh", "-c", _LIMITED, "sh", *map(str, values))


def _dies_with_us() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    # Busybox has a smaller program of this name.
    if setpriv is None or Path(setpriv).resolve().name != "setpriv":
        return ()
    return (setpriv, "--pdeathsig", "KILL", "--")
