"""`python -m dorpo merge`: what was trained as one model that everything can load."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dorpo.merging import gguf_file
from dorpo.merging.gguf_file import ConversionError, Wish
from dorpo.training.cli import own_stdout, set_environment

_REFUSED, _CANCELLED = 2, 130


def add_arguments(subparsers: Any) -> None:
    """Register the subcommand; its parser sets `run`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "merge", help="make one model of what was trained, to take along"
    )
    parser.add_argument(
        *("--adapter", "--trained"),
        dest="trained",
        required=True,
        type=Path,
        metavar="DIR",
        help="what a training wrote: an adapter, or with --full a student",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="the folder to make")
    parser.add_argument("--student", help="what was trained (default: as its folder says)")
    gguf = parser.add_mutually_exclusive_group()
    gguf.add_argument(
        "--llama-cpp",
        type=Path,
        metavar="DIR",
        help="a checkout of llama.cpp, whose converter makes the GGUF file; needed only for students that "
        "came from no GGUF file",
    )
    gguf.add_argument("--no-gguf", action="store_true", help="make no GGUF file")
    parser.add_argument(
        "--gguf-type", choices=gguf_file.KINDS, default="f16", help="how it holds the weights (f16)"
    )
    parser.add_argument("--allow-download", action="store_true", help="fetch the student from the hub")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Merge as asked; the folder's name goes to standard output, everything else to standard error.

    Returns:
        0 when it is done, 2 for what the user has to put right, 130 after Ctrl+C.
    """
    set_environment(allow_download=args.allow_download)
    try:
        wish = None if args.no_gguf else _wish(args)
    except ConversionError as error:
        return _refuse(error)
    with own_stdout() as stdout:
        # Loads torch, which takes seconds.
        from dorpo.merging.merge import MergeRefusedError, merge

        try:
            merged = merge(
                args.trained,
                args.output,
                student=args.student,
                gguf=wish,
                allow_download=args.allow_download,
            )
        except (MergeRefusedError, ConversionError) as error:
            return _refuse(error)
        except KeyboardInterrupt:
            return _refuse("Cancelled: nothing was merged.", _CANCELLED)
        except OSError as error:
            return _refuse(
                f"{args.output} cannot be written ({error.strerror or error}): choose another folder."
            )
        stdout.write(f"{merged.folder}\n")
    sys.stderr.write(f"No logit differs by more than {merged.difference:.1e}.\n")
    if merged.gguf_difference is not None:
        sys.stderr.write(f"In the GGUF file none by more than {merged.gguf_difference:.1e}.\n")
    if merged.gguf:
        sys.stderr.write(f"As a teacher: embedded/{merged.gguf.absolute()}\n")
    elif not args.no_gguf:
        file = merged.folder / gguf_file.name_in(merged.folder.name, args.gguf_type)
        words = gguf_file.command(gguf_file.SCRIPT, merged.folder, file, args.gguf_type)
        sys.stderr.write(f"For a GGUF file, in a checkout of llama.cpp: {gguf_file.spoken(words)}\n")
    return 0


def _wish(args: argparse.Namespace) -> Wish:
    converter = gguf_file.find_converter(args.llama_cpp)
    return Wish(args.gguf_type, converter, insist=args.llama_cpp is not None)


def _refuse(reason: object, status: int = _REFUSED) -> int:
    sys.stderr.write(f"{reason}\n")
    return status
