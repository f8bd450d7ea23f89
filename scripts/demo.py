"""The whole way on one page: a session on a script, the rows it harvested, a student trained on them.

usage: python scripts/demo.py

At a terminal it asks for your answers; anywhere else it takes those of examples/answers.jsonl. It needs no
key and no network, and has a dataset of its own, so that toy rows do not mix with yours. Everything it runs
is printed as the command you would type yourself.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "examples" / "total.py"
ANSWERS = ROOT / "examples" / "answers.jsonl"
# What the built-in model, a very small one, can do; it also follows "Use an f-string." on greeting.py.
CHANGE_REQUEST = "Use sum."
OUTPUT = ROOT / ".demo"
HOME = OUTPUT / "home"


def main() -> int:
    """Run the three commands, stop at the first that fails."""
    started = time.monotonic()
    OUTPUT.mkdir(exist_ok=True)
    script = OUTPUT / SCRIPT.name
    shutil.copyfile(SCRIPT, script)
    answers = [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--answers", relative(ANSWERS)]
    commands = {
        "1. A session: plan, instructions, edits, your answers": [
            *("precision_shaking", "run", relative(script), CHANGE_REQUEST),
            *("--teacher", "embedded/smollm2", *answers),
        ],
        "2. What it harvested": ["dorpo", "stats"],
        "3. A student trained on it": [
            *("dorpo", "train", "--student", "smollm2", "--max-steps", "15", "--learning-rate", "3e-4"),
            *("--output", relative(OUTPUT / "adapter")),
        ],
    }
    environment = {**os.environ, "PRECISION_SHAKING_HOME": str(HOME)}
    sys.stdout.write(f"$ export PRECISION_SHAKING_HOME=$PWD/{relative(HOME)}\n")
    for title, command in commands.items():
        sys.stdout.write(f"\n=== {title} ===\n$ python -m {shlex.join(command)}\n\n")
        sys.stdout.flush()
        run = [sys.executable, "-m", *command]
        status = subprocess.run(run, cwd=ROOT, env=environment, check=False).returncode
        if status != 0:
            return status
    seconds = time.monotonic() - started
    sys.stdout.write(f"\nDone in {seconds:.0f} s. Rows and adapter are in .demo/, not among your own.\n")
    return 0


def relative(path: Path) -> str:
    """The path as a person in the repository would type it."""
    return os.path.relpath(path, ROOT)


if __name__ == "__main__":
    sys.exit(main())
