"""`precision-shaking execute FILE`: run one script as the engine would, and say how it ended."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from attrs import asdict

from precision_shaking.sape.execution import Backend, Execution, ExecutionLimits, execute
from precision_shaking.sape.vocabulary import Outcome


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run_execute` reads."""
    parser.add_argument("file", help="the script, or - for standard input")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the output")
    parser.add_argument("--interpreter", metavar="PYTHON", help="name or path of the Python to run it with")
    parser.add_argument("--seconds", type=float, default=ExecutionLimits().seconds, help="time it may take")
    parser.add_argument(
        "--backend",
        choices=[str(backend) for backend in Backend],
        help="what stands between it and the machine",
    )


def run_execute(args: argparse.Namespace) -> int:
    """Run a script and print what came of it.

    Returns:
        0 when it ran without an error, 1 when it did not, 2 when it could not be read.
    """
    try:
        limits = ExecutionLimits(seconds=args.seconds)
        script = _read(args.file)
    except ValueError as error:
        sys.stderr.write(f"precision-shaking: {error}\n")
        return 2
    name = "script.py" if args.file == "-" else Path(args.file).name
    backend = Backend(args.backend) if args.backend else None
    result = asyncio.run(
        execute(script, file_name=name, interpreter=args.interpreter, limits=limits, backend=backend)
    )
    if args.json:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    else:
        _show(result)
    return 0 if result.outcome is Outcome.OK else 1


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is no UTF-8 text: save it as UTF-8.") from error


def _show(result: Execution) -> None:
    sys.stdout.write(result.output)
    sys.stdout.flush()
    ending = f"{result.outcome} after {result.seconds:.2f} s ({result.backend})"
    sys.stderr.write(" ".join(filter(None, [ending, result.detail])) + "\n")
