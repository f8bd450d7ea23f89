"""The command `precision-shaking`. Heavy parts are imported by the subcommand that needs them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from precision_shaking import __version__

if TYPE_CHECKING:
    import argparse

# Where a command's own options begin, they belong to the module that runs it.
_SERVE = "precision_shaking.lsp.stdio"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["serve"]:
        status: int = importlib.import_module(_SERVE).main(words[1:]) or 0
        return status
    if not words:
        _parser().print_help(sys.stderr)
        return 2
    arguments = _parser().parse_args(words)
    match arguments.command:
        case "run":
            from precision_shaking.run import run

            return run(arguments)
        case "engine":
            from precision_shaking.sape import engine

            engine.main()
            return 0
        case "evaluate-analyzer":
            from precision_shaking.sape.evaluation_cli import run_evaluation

            return run_evaluation(arguments)
        case "optimize":
            from precision_shaking.sape.optimizing_cli import run_optimize

            return run_optimize(arguments)
        case "instances":
            from precision_shaking.instances_cli import run_instances

            return run_instances(arguments)
        case "score":
            from precision_shaking.sape.scoring_cli import run_scoring

            return run_scoring(arguments)
        case "resume":
            from precision_shaking.run import resume

            return resume(arguments)
        case "sessions" | "abandon":
            from precision_shaking import sessions_cli

            listing = arguments.command == "sessions"
            return (sessions_cli.run_sessions if listing else sessions_cli.run_abandon)(arguments)
        case _:
            from precision_shaking.sape.execution_cli import run_execute

            return run_execute(arguments)


def _parser() -> argparse.ArgumentParser:
    # Not at the top: the language server has no use for it and is in a hurry.
    import argparse

    parser = argparse.ArgumentParser(
        prog="precision-shaking",
        description="Change scripts with language models, and turn what you think of it into a dataset.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="change a script, step by step, in this terminal"))
    from precision_shaking import instances_cli

    instances_cli.add_arguments(
        commands.add_parser("instances", help="list what sessions can be about: scripts, tests, texts, …")
    )
    commands.add_parser("serve", help="start the language server for an editor")
    commands.add_parser("engine", help="start the engine of one session (used by the other commands)")
    _add_evaluation(
        commands.add_parser("evaluate-analyzer", help="measure how well a model reads your feedback")
    )
    _add_optimize(
        commands.add_parser("optimize", help="make a model's prompts better with what you accepted and said")
    )
    _add_score(commands.add_parser("score", help="give soft labels to the rows that have none"))
    from precision_shaking import sessions_cli

    sessions_cli.add_arguments(commands)
    from precision_shaking.sape.execution_cli import add_arguments

    add_arguments(commands.add_parser("execute", help="run a script as the engine does and say how it ended"))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="the file to change; only accepted text is written to it"
    )
    parser.add_argument("request", metavar="CHANGE_REQUEST", help="what should change, in your words")
    _add_teachers(parser, "a model to ask, several in the order they are used")
    parser.add_argument(
        "--worker",
        metavar="PROVIDER/MODEL[@BASE_URL]",
        help="a model of your own, which only the worker asks, before the teachers: embedded/FILE.gguf",
    )
    parser.add_argument(
        "--instance",
        metavar="NAME",
        help="what it is, see `instances` (script; prose where that is what fits the file)",
    )
    _add_scorer(parser, "scores texts without log-probabilities: yours, and those of teachers that give none")
    parser.add_argument("--answers", metavar="FILE.jsonl", help="your answers, one JSON object a line")
    parser.add_argument("--db", metavar="FILE", help="the dataset (default: your own)")
    parser.add_argument("--json", action="store_true", help="print every event as a JSON object a line")
    parser.add_argument(
        "--max-attempts", type=int, default=3, metavar="N", help="before the next teacher (3)"
    )
    parser.add_argument(
        "--max-whole-lines",
        type=int,
        default=350,
        metavar="N",
        help="longer scripts are changed by rewriting some of their functions (350)",
    )
    exchanges = parser.add_mutually_exclusive_group()
    exchanges.add_argument(
        "--record", metavar="FILE.jsonl", help="make a file of everything asked of the teachers"
    )
    exchanges.add_argument(
        "--replay",
        metavar="FILE.jsonl",
        help="run a recorded session again, without its teachers; needs --db",
    )
    running = parser.add_mutually_exclusive_group()
    running.add_argument("--no-execute", action="store_true", help="do not run anything")
    running.add_argument(
        "--unprotected",
        action="store_true",
        help="run tests and commands of an instance even where bubblewrap cannot isolate them",
    )


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    _add_teachers(parser, "a model to try, several one after the other")
    parser.add_argument("--data", metavar="FILE.jsonl", help="labelled feedback (default: the package's own)")
    parser.add_argument(
        "--half",
        choices=("development", "test"),
        help="read one half of them: choose how to read by the one, and measure your choice on the other",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="read only the first N feedbacks")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")


def _add_optimize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--instance", default="script", metavar="NAME", help="whose sessions are learned from (script)"
    )
    parser.add_argument(
        "--agent",
        action="append",
        dest="agents",
        choices=("planner", "lead", "worker", "analyzer"),
        help="whose prompt, may be repeated (default: all)",
    )
    parser.add_argument(
        "--teacher",
        metavar="PROVIDER/MODEL[@BASE_URL]",
        help="the model that the prompts are for (default: embedded/smollm2); the key for a BASE_URL is "
        "$PRECISION_SHAKING_API_KEY",
    )
    parser.add_argument(
        "--method",
        choices=("few-shot", "gepa"),
        default="few-shot",
        help="show it examples, or have it rewrite its instructions from your feedback (takes many calls)",
    )
    parser.add_argument("--db", metavar="FILE", help="the dataset (default: your own)")
    parser.add_argument("--undo", action="store_true", help="go back to the prompts before the last change")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def _add_score(parser: argparse.ArgumentParser) -> None:
    _add_scorer(parser, "the model that scores (embedded/smollm2)")
    parser.add_argument("--db", metavar="FILE", help="the dataset (default: your own)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a sentence")


def _add_scorer(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--scorer", metavar="embedded/NAME|FILE.gguf", help=what)


def _add_teachers(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--teacher",
        action="append",
        dest="teachers",
        metavar="PROVIDER/MODEL[@BASE_URL]",
        help=f"{what} (default: embedded/smollm2); the key for a BASE_URL is $PRECISION_SHAKING_API_KEY",
    )
