"""`python -m dorpo sweep`: its options, its streams and its exit status."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dorpo.evaluation.cli import CANCELLED, REFUSED, tell
from dorpo.evaluation.sweep import SweepRequest, sweep_as_asked
from dorpo.evaluation.sweep_report import JSON, to_markdown, write
from dorpo.paths import default_path
from dorpo.training import options
from dorpo.training.cancellation import Cancellation, TrainingCancelledError
from dorpo.training.cli import own_stdout, set_environment, signals_to
from dorpo.training.options import positive
from dorpo.training.request import TrainingRefusedError, TrainingRequest, prepare_output

T = TypeVar("T")


def add_arguments(subparsers: Any) -> None:
    """Register the subcommand; its parser sets `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sweep", help="train with several weights of the odds ratio and compare them"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="where everything goes")
    parser.add_argument(
        "--betas",
        type=_betas,
        default=(0.0, 0.05, 0.1, 0.2),
        metavar="λ,…",
        help="weights of the odds-ratio term (default: 0,0.05,0.1,0.2)",
    )
    parser.add_argument(
        "--seeds",
        type=_seeds,
        default=(0,),
        metavar="N,…",
        help="every λ is trained once with each (default: 0)",
    )
    options.add_data(parser).add_argument(
        "--split-seed", type=int, default=0, metavar="N", help="of the choice of these sessions (default: 0)"
    )
    student = options.add_student(parser)
    options.add_adapters(student)
    options.add_whole(student)
    options.add_objective(parser)
    options.add_steps(parser).add_argument(
        "--max-steps", required=True, type=positive, metavar="N", help="of each training"
    )
    options.add_memory(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Sweep as asked, and write the table to standard output.

    Returns:
        0 when it is done, 2 for what the user has to put right, 130 when it was cancelled.
    """
    set_environment(allow_download=args.allow_download)
    with own_stdout() as stdout:
        try:
            request = _request(args)
            prepare_output(args.output)
            cancellation = Cancellation()
            with signals_to(cancellation.request):
                sweep = sweep_as_asked(request, tell, lambda sweep: write(sweep, args.output), cancellation)
        except TrainingRefusedError as refusal:
            sys.stderr.write(f"{refusal}\n")
            return REFUSED
        except TrainingCancelledError:
            return CANCELLED
        stdout.write(to_markdown(sweep))
    return 0 if sweep.status == "done" else CANCELLED


def _request(args: argparse.Namespace) -> SweepRequest:
    if (args.output / JSON).exists():
        raise TrainingRefusedError(f"The folder {args.output} holds a sweep already: choose another one.")
    of_sweep = {"betas", "seeds", "run", "db"}
    training = {name: value for name, value in vars(args).items() if name not in of_sweep}
    return SweepRequest(
        training=TrainingRequest(db=args.db or default_path(), **training), betas=args.betas, seeds=args.seeds
    )


def _betas(text: str) -> tuple[float, ...]:
    betas = _different(text, float)
    if not all(math.isfinite(beta) and beta >= 0 for beta in betas):
        raise argparse.ArgumentTypeError("every λ must be a number of at least 0")
    return betas


def _seeds(text: str) -> tuple[int, ...]:
    return _different(text, int)


def _different(text: str, read: Callable[[str], T]) -> tuple[T, ...]:
    try:
        values = tuple(read(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError("write numbers with a comma between them") from error
    if len(set(values)) < len(values):
        raise argparse.ArgumentTypeError("each of them must be there once")
    return values
