"""`precision-shaking evaluate-analyzer`: have teachers read labelled feedback, and say how well they did."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from dorpo.store import default_path
from precision_shaking.sape.environment import quieten
from precision_shaking.sape.evaluation import (
    FEEDBACK,
    UNREADABLE,
    Evaluation,
    EvaluationError,
    Feedback,
    evaluate,
    half,
    read_feedbacks,
)
from precision_shaking.sape.teachers import TeacherError, connect, parse_teacher
from precision_shaking.sape.vocabulary import READINGS
from precision_shaking.sape.wire import TeacherAccess

_DEFAULT_TEACHER = "embedded/smollm2"
_DONE, _UNUSABLE, _INTERRUPTED = 0, 2, 130


def run_evaluation(args: argparse.Namespace) -> int:
    """Evaluate each teacher and print its figures.

    Returns:
        0 when every teacher was evaluated, 2 when the set or a teacher cannot be used, 130 after Ctrl+C.
    """
    quieten(default_path().parent)
    data = Path(args.data) if args.data else FEEDBACK
    key = os.environ.get("PRECISION_SHAKING_API_KEY")
    try:
        feedbacks = read_feedbacks(data)
        if args.half is not None:
            feedbacks = half(feedbacks, args.half)
        feedbacks = feedbacks[: None if args.limit is None else max(1, args.limit)]
        pool = [parse_teacher(text) for text in args.teachers or [_DEFAULT_TEACHER]]
        # The key is meant for servers of the user's own; a provider's is in the provider's own variable.
        accesses = [TeacherAccess(t.name, t.base_url, key if t.base_url else None) for t in pool]
        done = [asyncio.run(_evaluate(access, feedbacks)) for access in accesses]
    except (EvaluationError, TeacherError) as error:
        sys.stderr.write(f"precision-shaking: {error}\n")
        return _UNUSABLE
    except KeyboardInterrupt:
        return _INTERRUPTED
    if args.json:
        found = {"data": str(data), "teachers": [evaluation.to_json() for evaluation in done]}
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    else:
        console = Console(highlight=False)
        for evaluation in done:
            _show(evaluation, console)
    return _DONE


async def _evaluate(access: TeacherAccess, feedbacks: Sequence[Feedback]) -> Evaluation:
    """Ask the analyzer as a session first asks it: once, greedily. A session would ask again."""
    try:
        from precision_shaking.sape.agents import Agents, ask
        from precision_shaking.sape.exchange import Exchange
    except ImportError as error:
        raise TeacherError(
            f"A package is missing ({error.name}): install precision-shaking[agents]."
        ) from error
    teacher, analyzer = connect(access), Agents.for_scripts().analyzer
    readings: list[str | None] = []
    started = time.monotonic()
    waiting = Console(stderr=True)
    for feedback in track(feedbacks, access.name, console=waiting, transient=True, disable=_quiet(waiting)):
        inputs = {"step": feedback.step, "feedback": feedback.text}
        reply = await ask(analyzer, teacher, inputs, repeat=0, exchange=Exchange([]), on_text=lambda _: None)
        readings.append(None if reply.fields is None else str(reply.fields["verdict"]))
    return evaluate(access.name, feedbacks, readings, time.monotonic() - started)


def _quiet(console: Console) -> bool:
    return not console.is_terminal


def _show(evaluation: Evaluation, console: Console) -> None:
    table = Table(title=evaluation.teacher, title_justify="left")
    table.add_column("meant ↓  read →")
    for column in (*READINGS, UNREADABLE, "right"):
        table.add_column(column, justify="right")
    for meant, readings in evaluation.confusion.items():
        counts = [str(count) for count in readings.values()]
        table.add_row(meant, *counts, _percent(evaluation.accuracy_by_verdict[meant]))
    console.print(table)
    console.print(
        f"accuracy {_percent(evaluation.accuracy)} of {evaluation.items}, "
        f"{evaluation.unreadable} unreadable, {evaluation.seconds:.1f} s\n"
        f"taken for a verdict {_percent(evaluation.coverage)}, of these right "
        f"{_percent(evaluation.accuracy_of_answers)}, wrongly accepted {evaluation.wrongly_accepted}\n"
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
