"""`python -m dorpo train`: its options, its signals, its streams and its exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from dorpo.missing import missing_package
from dorpo.paths import default_path
from dorpo.training import options
from dorpo.training.cancellation import Cancellation, TrainingCancelledError
from dorpo.training.events import TrainingEvent, TrainingFailed
from dorpo.training.progress import Bar, JsonLines
from dorpo.training.request import (
    TrainingRefusedError,
    TrainingRequest,
    check_reporter,
    prepare_output,
    read_rows,
)
from dorpo.training.resuming import starting_point

_CANCELLED = 130
_REFUSED = 2


_EXAMPLES = """\
examples:
  python -m dorpo train --output my-model
      an adapter for the small student that comes along, from your own dataset
  python -m dorpo train --output my-model --student ./qwen --epochs 3 --save-steps 50 --resume
      another student, kept on the way; the same command goes on after a crash
  python -m dorpo train --output my-model --or-soft-label smooth --or-tokens diff
      labels that may be wrong, and only what differs is compared
  python -m dorpo train --output my-model --qlora --gradient-checkpointing --report-to tensorboard
      a large student on one GPU, with curves

Ctrl-C stops it and keeps what was learned so far. Exit status: 0 when it is done, 2 for what you have to
put right, 130 when it was stopped.
"""


def add_arguments(subparsers: Any) -> None:
    """Register the subcommand; its parser sets `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "train",
        help="train a student on the rows",
        description="Train a student on the rows of your dataset: the KL to the teacher on what you "
        "accepted, and the odds ratio against what you rejected.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="where the adapter goes")
    parser.add_argument("--json", action="store_true", help="write JSON lines to standard output")
    options.add_minimum(options.add_data(parser))
    student = options.add_student(parser)
    options.add_adapters(student)
    options.add_whole(student)
    options.add_objective(parser, one_beta=True)
    options.add_length(options.add_steps(parser))
    options.add_memory(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train as asked.

    Returns:
        0 when it is done, 2 for what the user has to put right, 130 when it was cancelled.
    """
    set_environment(allow_download=args.allow_download)
    with own_stdout() as stdout:
        bar = Bar(Console(stderr=True), Console(file=stdout))
        report: Callable[[TrainingEvent], None] = JsonLines(stdout) if args.json else bar
        if not _speaks():
            report = _say_nothing
        try:
            return _train(_request(args), report)
        except TrainingRefusedError as refusal:
            if args.json:
                report(TrainingFailed(message=str(refusal)))
            if _speaks():
                sys.stderr.write(f"{refusal}\n")
            return _REFUSED
        except TrainingCancelledError:
            return _CANCELLED
        except ImportError as error:
            # Whoever is called by people says how it is installed.
            if args.json:
                missing = missing_package(error)
                report(TrainingFailed(message=f"Training needs a package that is missing ({missing})."))
            raise
        except Exception as error:
            report(TrainingFailed(message=f"The training broke off ({type(error).__name__}: {error})."))
            raise
        finally:
            bar.close()


def _speaks() -> bool:
    """Whether this is the only process or the first of several, as their launcher numbers them."""
    return os.environ.get("RANK", "0") == "0"


def _say_nothing(_event: TrainingEvent) -> None:
    """Leave the word to the first process."""


def _train(request: TrainingRequest, report: Callable[[TrainingEvent], None]) -> int:
    data = read_rows(request)
    check_reporter(request.report_to)
    prepare_output(request.output)
    checkpoint = starting_point(request, data.fingerprint)
    if checkpoint is not None and _speaks():
        sys.stderr.write(f"Going on in {request.output} after step {checkpoint.step}.\n")
    cancellation = Cancellation()
    with signals_to(cancellation.request):
        # Loads torch, which takes seconds: only after everything that can be refused at once.
        from dorpo.training.run import Training

        status = Training(request, data, report, cancellation, checkpoint).run()
    return _CANCELLED if status == "cancelled" else 0


def _request(args: argparse.Namespace) -> TrainingRequest:
    chosen = {name: value for name, value in vars(args).items() if name not in {"json", "run", "db"}}
    return TrainingRequest(db=args.db or default_path(), **chosen)


@contextmanager
def signals_to(handler: Callable[..., None]) -> Iterator[None]:
    """Ctrl-C and a polite kill both ask to stop, while this lasts."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def own_stdout() -> Iterator[TextIO]:
    """Standard output for our lines alone: whatever a library prints meanwhile goes to standard error."""
    sys.stdout.flush()
    try:
        ours = os.dup(1)
    except OSError:
        yield sys.stdout
        return
    os.dup2(2, 1)
    try:
        with os.fdopen(ours, "w", encoding="utf-8", closefd=False) as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(ours, 1)
        os.close(ours)


def set_environment(*, allow_download: bool) -> None:
    """What libraries read when they are imported: no network unless asked for, no bars, no advice."""
    if not allow_download:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that wait for each other in a loop take the cores from whoever else works here, and then
    # wait for it: with an editor at work, sleeping is several times faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # `python -W` still shows what the libraries warn developers of.
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
