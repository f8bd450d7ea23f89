"""`python -m dorpo evaluate`: its options, its streams and its exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dorpo.evaluation.report import to_json, to_markdown, write
from dorpo.evaluation.run import BASE, BASELINES, EvaluationRequest, evaluate_as_asked
from dorpo.paths import default_path
from dorpo.training import options
from dorpo.training.cancellation import Cancellation, TrainingCancelledError
from dorpo.training.cli import own_stdout, set_environment, signals_to
from dorpo.training.events import TrainingEvent, TrainingProgress
from dorpo.training.options import part, positive
from dorpo.training.request import TrainingRefusedError, TrainingRequest, prepare_output

CANCELLED = 130
REFUSED = 2
# Options that fill a field of the training; without a value it is the training's own, or its default.
_OF_TRAINING = ("student", "seed", "holdout", "max_length", "max_steps")


def add_arguments(subparsers: Any) -> None:
    """Register the subcommand; its parser sets `run`."""
    defaults = EvaluationRequest(training=TrainingRequest(db=Path(), student="", output=Path()))
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "evaluate", help="compare a student with what a training made of it"
    )
    options.add_student(parser, default=None)
    parser.add_argument("--db", type=Path, metavar="FILE", help="the dataset (default: the user's own)")
    parser.add_argument(
        *("--adapter", "--trained"),
        dest="trained",
        type=Path,
        metavar="DIR",
        help="what a training wrote: an adapter, or with --full a student",
    )
    parser.add_argument(
        "--compare",
        type=_names,
        default=(),
        metavar="NAMES",
        help=f"of {BASE} (always there) and {', '.join(BASELINES)} (trained for it), separated by commas",
    )
    parser.add_argument(
        "--answer",
        action="store_true",
        help="have the student answer, and say how long that is and if it ends",
    )
    parser.add_argument(
        "--execute", action="store_true", help="run the student's own answers in the sandbox too"
    )
    parser.add_argument(
        "--prompts", type=positive, default=defaults.prompts, metavar="N", help="to answer at most"
    )
    parser.add_argument("--max-new-tokens", type=positive, default=defaults.most_tokens, metavar="TOKENS")
    parser.add_argument("--max-steps", type=positive, metavar="N", help="of the baselines, without --adapter")
    parser.add_argument("--max-length", type=positive, metavar="TOKENS", help="leave longer rows out")
    parser.add_argument(
        "--holdout",
        type=part,
        metavar="SHARE",
        help="share of sessions to evaluate on (default: the training's)",
    )
    parser.add_argument("--seed", type=int, help="of split and bootstrap (default: the training's)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the report goes")
    parser.add_argument("--json", action="store_true", help="write the report as JSON to standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate as asked.

    Returns:
        0 when it is done, 2 for what the user has to put right, 130 when it was cancelled.
    """
    set_environment(allow_download=args.allow_download)
    with own_stdout() as stdout:
        try:
            stdout.write(_evaluate(args))
        except TrainingRefusedError as refusal:
            sys.stderr.write(f"{refusal}\n")
            return REFUSED
        except TrainingCancelledError:
            return CANCELLED
    return 0


def _evaluate(args: argparse.Namespace) -> str:
    request = _request(args)
    if args.output is not None:
        prepare_output(args.output)
    cancellation = Cancellation()
    with signals_to(cancellation.request):
        evaluation = evaluate_as_asked(request, tell, cancellation)
    markdown = to_markdown(evaluation) if args.output is None else write(evaluation, args.output)
    return to_json(evaluation) if args.json else markdown


def tell(event: TrainingEvent | str) -> None:
    """What goes on, in lines on standard error: a sentence, or a training's step."""
    match event:
        case str():
            sys.stderr.write(f"{event}\n")
        case TrainingProgress():
            sys.stderr.write(f"  step {event.step} of {event.steps}: loss {event.loss:.3f}\n")
        case _:
            return
    sys.stderr.flush()


def _request(args: argparse.Namespace) -> EvaluationRequest:
    baselines = tuple(name for name in args.compare if name != BASE)
    if baselines and args.output is None:
        raise TrainingRefusedError(
            f"--compare {','.join(baselines)} needs --output DIR, where what it trains is kept."
        )
    if baselines and args.trained is None and args.max_steps is None:
        raise TrainingRefusedError(
            f"--compare {','.join(baselines)} needs --adapter DIR, whose steps it repeats, or --max-steps N."
        )
    chosen = {name: getattr(args, name) for name in _OF_TRAINING if getattr(args, name) is not None}
    training: Callable[..., TrainingRequest] = TrainingRequest
    return EvaluationRequest(
        training=training(
            db=args.db or default_path(),
            output=args.output or Path(),
            device=args.device,
            allow_download=args.allow_download,
            **{"student": "smollm2", **chosen},
        ),
        given=frozenset(chosen),
        trained=args.trained,
        baselines=baselines,
        answer=args.answer,
        execute=args.execute,
        prompts=args.prompts,
        most_tokens=args.max_new_tokens,
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name != BASE and name not in BASELINES:
            raise argparse.ArgumentTypeError(f"{name} is none of {', '.join([BASE, *BASELINES])}")
    return names
