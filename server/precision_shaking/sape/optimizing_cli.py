"""`precision-shaking optimize`: better prompts for the agents from what the user decided, and back again."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from rich.console import Console
from rich.table import Table

from dorpo.store import Store, StoreError, default_path
from precision_shaking.sape.instances.catalogue import find
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.loading import DeclarationError, to_tables
from precision_shaking.sape.instances.workspace import workspace_of
from precision_shaking.sape.optimizing.comparing import Comparison, compare
from precision_shaking.sape.optimizing.data import (
    AGENTS,
    MIN_HELD_OUT,
    MIN_TRAIN,
    Split,
    examples,
    split,
)
from precision_shaking.sape.optimizing.job import FEW_SHOT, GEPA, Compiled, Job, Task
from precision_shaking.sape.optimizing.metrics import METRICS
from precision_shaking.sape.optimizing.process import OptimizingError, compile_programs
from precision_shaking.sape.optimizing.programs import Program, ProgramError, load, save, undo
from precision_shaking.sape.scorers import EMBEDDED
from precision_shaking.sape.teachers import TeacherError, parse_teacher
from precision_shaking.sape.wire import TeacherAccess

_DEFAULT_TEACHER = "embedded/smollm2"
_DONE, _UNUSABLE, _INTERRUPTED = 0, 2, 130
_NOUNS = {
    "planner": "accepted plans",
    "lead": "accepted instructions",
    "worker": "accepted scripts",
    "analyzer": "feedbacks in words with your own verdict",
}


@frozen
class _Choice:
    """What the user asked for."""

    instance: Instance
    agents: tuple[str, ...]
    teacher: TeacherAccess
    method: str
    database: Path
    home: Path
    as_json: bool


def run_optimize(args: argparse.Namespace) -> int:
    """Optimise, or undo, and say what came of it.

    Returns:
        0 when something was measured or undone, 2 when that cannot be, 130 after Ctrl+C.
    """
    try:
        choice = _choice(args)
        report = _undo(choice) if args.undo else asyncio.run(_optimize(choice))
    except (DeclarationError, OptimizingError, ProgramError, StoreError, TeacherError) as error:
        sys.stderr.write(f"precision-shaking: {error}\n")
        return _UNUSABLE
    except KeyboardInterrupt:
        sys.stderr.write("precision-shaking: stopped; the agents' programs are as they were.\n")
        return _INTERRUPTED
    if choice.as_json:
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        _show(report, Console(highlight=False))
    return _DONE


def _choice(args: argparse.Namespace) -> _Choice:
    instance = find(args.instance, workspace_of([Path.cwd()]))
    if not instance.optimized:
        raise OptimizingError(
            f"Sessions of {instance.name} do not use optimised prompts: set `optimized = true` in a "
            "declaration of your own that extends it."
        )
    teacher = parse_teacher(args.teacher or _DEFAULT_TEACHER)
    if args.method == GEPA and not args.undo and teacher.name.startswith(EMBEDDED):
        raise OptimizingError(
            f"{teacher.name} is too small to write instructions for itself: name another --teacher for gepa, "
            f"or use --method {FEW_SHOT}."
        )
    if teacher.base_url:
        # The key is meant for servers of the user's own; a provider's is in the provider's own variable.
        teacher = evolve(teacher, api_key=os.environ.get("PRECISION_SHAKING_API_KEY"))
    database = Path(args.db) if args.db else default_path()
    agents = tuple(agent for agent in AGENTS if not args.agents or agent in args.agents)
    return _Choice(instance, agents, teacher, args.method, database, default_path().parent, args.json)


# Optimising


async def _optimize(choice: _Choice) -> dict[str, Any]:
    with Store.open(choice.database, create=False) as store:
        found = examples(store.harvested_steps(choice.instance.name))
    programs = {agent: _in_use(choice, agent) for agent in choice.agents}
    splits = {agent: split(found[agent], _made_of(programs[agent])) for agent in choice.agents}
    able = [agent for agent in choice.agents if splits[agent].enough]
    lacking = {agent: _lack(agent, splits[agent]) for agent in choice.agents if agent not in able}
    if not able:
        counts = "; ".join(lacking.values())
        raise OptimizingError(f"Sessions of {choice.instance.name} are too few to learn from: {counts}.")
    tasks = tuple(Task(agent, splits[agent], _state(programs[agent])) for agent in able)
    waiting = Console(stderr=True, highlight=False)
    with waiting.status("starting"):
        compiled = await compile_programs(
            Job(choice.teacher, choice.method, to_tables(choice.instance), tasks),
            lambda line: waiting.print(line, style="dim") if waiting.is_terminal else None,
        )
    # Only now, so that whoever stops before changes nothing.
    agents = [_decide(choice, splits[one.agent], one) for one in compiled]
    return _report(
        choice, agents + [{"agent": agent, "kept": None, "why": f"{why}."} for agent, why in lacking.items()]
    )


def _decide(choice: _Choice, parts: Split, compiled: Compiled) -> dict[str, Any]:
    found = compare(compiled.before, compiled.after)
    place = None
    if found.improved:
        program = Program(
            instance=choice.instance.name,
            agent=compiled.agent,
            teacher=choice.teacher.name,
            method=choice.method,
            state=compiled.state,
            made_of=tuple(sorted({example.place for example in parts.train})),
            score=found.after,
            dspy=compiled.dspy,
        )
        place = str(save(choice.home, program))
    return {
        "agent": compiled.agent,
        "metric": METRICS[compiled.agent],
        "train": len(parts.train),
        "held_out": len(parts.held_out),
        "before": found.before,
        "after": found.after,
        "interval": [found.low, found.high],
        "better": found.better,
        "worse": found.worse,
        "kept": "new" if found.improved else "old",
        "why": _reason(found),
        "program": place,
    }


def _reason(found: Comparison) -> str:
    """Why a program was kept, in a sentence."""
    counts = f"{found.better} of {found.examples} held-out examples better, {found.worse} worse"
    if found.improved:
        return f"installed the new prompt: {counts}; sessions use it from the next one on."
    if found.after > found.before:
        return f"kept the old prompt: {counts}; that can be chance."
    return f"kept the old prompt: {counts}; the new one is no better."


def _in_use(choice: _Choice, agent: str) -> Program | None:
    try:
        return load(choice.home, choice.instance.name, agent, choice.teacher.name)
    except ProgramError as error:
        # Sessions do without it as well, and the new one takes its place.
        sys.stderr.write(f"precision-shaking: {error}\n")
        return None


def _made_of(program: Program | None) -> frozenset[str]:
    return frozenset(program.made_of) if program else frozenset()


def _state(program: Program | None) -> dict[str, Any] | None:
    return program.state if program else None


def _lack(agent: str, parts: Split) -> str:
    """Why an agent cannot be optimised, as a part of a sentence."""
    whole = len(parts.train) + len(parts.held_out)
    least = MIN_TRAIN + MIN_HELD_OUT
    if whole < least:
        return f"the {agent} has {whole} of the {least} {_NOUNS[agent]} it needs"
    # A session is never divided, and what the program in use has learned from is no measure for it.
    count = f"the {agent} has {whole} {_NOUNS[agent]}"
    return f"{count}, of which {len(parts.held_out)} of {MIN_HELD_OUT} can be held out"


# Undoing


def _undo(choice: _Choice) -> dict[str, Any]:
    whose = choice.instance.name
    undone = [agent for agent in choice.agents if undo(choice.home, whose, agent, choice.teacher.name)]
    if not undone:
        raise OptimizingError(f"There is no program for {choice.teacher.name} to take back.")
    now = {agent: load(choice.home, whose, agent, choice.teacher.name) for agent in undone}
    return _report(
        choice, [{"agent": agent, "kept": "previous" if now[agent] else "none"} for agent in undone]
    )


# Reporting


def _report(choice: _Choice, agents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "instance": choice.instance.name,
        "teacher": choice.teacher.name,
        "method": choice.method,
        "agents": [dict(one) for one in agents],
    }


def _show(report: Mapping[str, Any], console: Console) -> None:
    measured = [agent for agent in report["agents"] if "metric" in agent]
    if measured:
        _show_scores(report["teacher"], measured, console)
    for agent in report["agents"]:
        console.print(_line(agent))


def _line(agent: Mapping[str, Any]) -> str:
    """What came of an agent, for people."""
    match agent["kept"]:
        case None:
            return f"{agent['agent']}: not optimised, {agent['why']}"
        case "previous":
            return f"{agent['agent']}: the previous program is back."
        case "none":
            return f"{agent['agent']}: works without a program again."
        case _:
            return f"{agent['agent']} (by {agent['metric']}): {agent['why']}"


def _show_scores(teacher: str, agents: Sequence[Mapping[str, Any]], console: Console) -> None:
    table = Table(title=f"{teacher}, on sessions that were not learned from", title_justify="left")
    table.add_column("agent")
    # Narrow enough for a terminal of 80 columns.
    for column in ("learned", "held out", "before", "after", "change (95 %)"):
        table.add_column(column, justify="right")
    table.add_column("decision")
    for one in agents:
        counts = (str(one[name]) for name in ("train", "held_out"))
        scores = (f"{one[name]:.3f}" for name in ("before", "after"))
        change = "{:+.2f} … {:+.2f}".format(*one["interval"])
        decision = "installed" if one["kept"] == "new" else "kept old"
        table.add_row(one["agent"], *counts, *scores, change, decision)
    console.print(table)
