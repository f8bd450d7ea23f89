"""`python -m dorpo`: look at the dataset, correct it, export it, train a student on it, measure it."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from dorpo import sessions_cli
from dorpo.export import FORMATS, export, export_calls
from dorpo.missing import missing_package
from dorpo.parquet import ParquetUnavailableError, export_parquet
from dorpo.store import AGENTS, Stats, Store, StoreError, Usage, default_path
from dorpo.usage import by_agent, describe_usage, plain_usage

PARQUET = "parquet"
VERDICTS = ("accepted", "redo", "further_edit")
# The teacher of what the user wrote.
_USER = "user"
_WITH_TORCH = {
    "train": ("dorpo.training.cli", "train a student on the rows"),
    "merge": ("dorpo.merging.cli", "make one model of what was trained, to take along"),
    "evaluate": ("dorpo.evaluation.cli", "compare a student with what a training made of it"),
    "sweep": ("dorpo.evaluation.sweep_cli", "train with several weights of the odds ratio and compare them"),
}
_TRAIN_EXTRA = frozenset({"accelerate", "gguf", "matplotlib", "peft", "torch", "transformers"})


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the exit status, 2 for what the user has to put right."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        _parser("").print_help(sys.stderr)
        return 2
    try:
        args = _parser(arguments[0]).parse_args(arguments)
        return int(args.run(args))
    except StoreError as error:
        return _complain(str(error))
    except ImportError as error:
        missing = missing_package(error)
        if missing not in _TRAIN_EXTRA:
            raise
        return _complain(f"Training needs torch and transformers ({missing} is missing): {_INSTALL}")


_INSTALL = "pip install 'precision-shaking[train]'"


def _parser(wanted: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dorpo", description="Precision Shaking's dataset and training."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    stats = commands.add_parser("stats", help="say what the dataset holds")
    _add_database(stats)
    stats.add_argument("--json", action="store_true", help="write one JSON object")
    stats.set_defaults(run=run_stats)
    exporting = commands.add_parser("export", help="write the rows for other training programs")
    _add_database(exporting)
    exporting.add_argument(
        "--format",
        required=True,
        choices=sorted([*FORMATS, PARQUET]),
        help="whose JSON lines, or parquet with the soft labels",
    )
    exporting.add_argument(
        "--agent", choices=AGENTS, help="not the rows but this agent's calls with what came of them (trl)"
    )
    exporting.add_argument("--output", required=True, type=Path, metavar="FILE", help="the file to make")
    exporting.set_defaults(run=run_export)
    relabelling = commands.add_parser("relabel", help="correct what was made of your words about an attempt")
    _add_database(relabelling)
    relabelling.add_argument("attempt", metavar="ATTEMPT", help="the attempt's uid")
    relabelling.add_argument("verdict", choices=VERDICTS, help="what you meant")
    relabelling.set_defaults(run=run_relabel)
    sessions_cli.add_arguments(commands, _add_database)
    for name, (module, about) in _WITH_TORCH.items():
        if name == wanted:
            # Only here, because it may load torch. Its parser sets `run`: arguments in, exit status out.
            importlib.import_module(module).add_arguments(commands)
        else:
            commands.add_parser(name, help=about)
    return parser


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--db", type=Path, metavar="FILE", help="the dataset (default: the user's own)")


def run_stats(args: argparse.Namespace) -> int:
    """Write what the dataset holds to standard output."""
    with Store.open(args.db or default_path(), create=False) as store:
        stats, usage = store.stats(), store.usage()
    sys.stdout.write(
        json.dumps(_plain(stats, usage)) + "\n" if args.json else _describe(stats) + describe_usage(usage)
    )
    return 0


def run_export(args: argparse.Namespace) -> int:
    """Write the rows, or an agent's calls, to a file, and how many they were to standard error."""
    if args.agent and args.format != "trl":
        return _complain(
            f"The calls of an agent have no {args.format} format: export them with --format trl."
        )
    with Store.open(args.db or default_path(), create=False) as store:
        try:
            if args.agent:
                exported = export_calls(store.agent_calls(args.agent), args.output)
            elif args.format == PARQUET:
                exported = export_parquet(store.rows(), args.output)
            else:
                exported = export(store.rows(), args.output, args.format)
        except ParquetUnavailableError as error:
            return _complain(str(error))
        except OSError as error:
            return _complain(f"{args.output} cannot be written ({error.strerror}): choose another file.")
    skipped = f", {exported.skipped} without a rejected response left out" if exported.skipped else ""
    kind = "call" if args.agent else "row"
    rows = f"1 {kind}" if exported.written == 1 else f"{exported.written} {kind}s"
    redacted = f", {exported.redacted} credentials replaced" if exported.redacted else ""
    sys.stderr.write(f"{rows} written to {args.output}{skipped}{redacted}.\n")
    return 0


def run_relabel(args: argparse.Namespace) -> int:
    """Correct a verdict, and the rows that came of it."""
    with Store.open(args.db or default_path(), create=False) as store:
        store.relabel(args.attempt, args.verdict)
    return 0


def _plain(stats: Stats, usage: Sequence[Usage]) -> dict[str, Any]:
    sums = {"usage": list(map(plain_usage, by_agent(usage))), "usage_total": plain_usage(Usage.total(usage))}
    return {**attrs.asdict(stats), "path": str(stats.path), **sums}


def _describe(stats: Stats) -> str:
    lines = [
        ("dataset", f"{stats.path} ({stats.size_bytes / 1e6:.1f} MB)"),
        ("sessions", f"{stats.sessions} (steps: {stats.steps}, attempts: {stats.attempts})"),
        ("rows", f"{stats.rows} complete, {stats.open_rows} without a chosen response"),
        (
            "of these",
            f"{stats.with_rejected} with a rejected response, {stats.with_soft_labels} with soft labels",
        ),
        *((f"  {reason}", str(count)) for reason, count in stats.by_reason.items()),
        *([("chosen text by", "")] if stats.by_teacher else []),
        *((f"  {_writer(name)}", str(count)) for name, count in stats.by_teacher.items()),
        *([("soft labels by", "")] if stats.by_labeller else []),
        *((f"  {model}", str(count)) for model, count in stats.by_labeller.items()),
    ]
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name:<{width}}  {value}".rstrip() + "\n" for name, value in lines)


def _writer(teacher: str) -> str:
    # As the editor calls them.
    return "you" if teacher == _USER else teacher


def _complain(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2
