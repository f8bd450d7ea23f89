"""Planner, lead and analyzer on the embedded model: with a chain of thought before the answer, and without.

In one run, greedily, each question asked both ways in turn, held to the form by the grammar:

* planner and lead are asked to change the first function or class of each script; counted are the answers
  that speak of it by its name, and those that cannot be read;
* the analyzer is asked for the verdict of labelled feedback, as larger models are; counted are the right
  ones. (In sessions the embedded model is not asked, see `sape/reading.py`.)

Seconds are by the clock, median of the questions: compare them with each other only. The last line is one
JSON object; `better` holds the agents that answer better with it.

    python bench/reasoning.py [--scripts FOLDER] [--every 2]
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from attrs import define, evolve, field

from dorpo.regions import Kind, find_regions
from precision_shaking.sape.agents import Agent, Agents, ask
from precision_shaking.sape.embedded.models import DEFAULT_MODEL
from precision_shaking.sape.evaluation import FEEDBACK, read_feedbacks
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.teachers import Teacher, connect, parse_teacher

WAYS: Mapping[str, bool] = {"direct": False, "reasoned": True}
CHANGE = "Let {name} refuse arguments of the wrong type with a TypeError."


@define
class Tally:
    """What came of one agent's questions, asked one way."""

    questions: int = 0
    good: int = 0
    unreadable: int = 0
    seconds: list[float] = field(factory=list)
    tokens: list[int] = field(factory=list)

    def figures(self) -> dict[str, Any]:
        """Its figures for JSON."""
        return {
            "questions": self.questions,
            "good": self.good,
            "unreadable": self.unreadable,
            "median_seconds": round(median(self.seconds), 2),
            "median_tokens": median(self.tokens),
        }


async def put(
    agent: Agent, teacher: Teacher, inputs: dict[str, str], good: Callable[[str], bool], tally: Tally
) -> None:
    """Ask one question and count what came of it."""
    exchange = Exchange([])
    reply = await ask(agent, teacher, inputs, repeat=0, exchange=exchange, on_text=lambda _: None)
    tally.questions += 1
    tally.seconds.append(reply.seconds)
    tally.tokens.append(exchange.output_tokens or 0)
    if reply.fields is None:
        tally.unreadable += 1
    else:
        tally.good += good(str(reply.fields[agent.shape[0].name]))


def questions(scripts: Path, every: int) -> list[tuple[str, dict[str, str], Callable[[str], bool]]]:
    """Whom to ask what, and which answers are good."""
    found: list[tuple[str, dict[str, str], Callable[[str], bool]]] = []
    for path in sorted(scripts.glob("*.txt")):
        script = path.read_text("utf-8")
        for name in [region.name for region in find_regions(script) if region.kind is Kind.SYMBOL][:1]:
            request = CHANGE.format(name=name)

            def names_it(answer: str, name: str = name) -> bool:
                return name in answer

            planned = {"change_request": request, "current_script": script, "goal": request}
            led = {"change_request": request, "current_script": script, "step": request}
            found.append(("planner", planned, names_it))
            found.append(("lead", {**led, "what_happened": "", "attempted_script": ""}, names_it))
    for one in read_feedbacks(FEEDBACK)[::every]:

        def is_right(answer: str, verdict: str = one.verdict) -> bool:
            return answer == verdict

        found.append(("analyzer", {"step": one.step, "feedback": one.text}, is_right))
    return found


async def measure(scripts: Path, every: int) -> dict[str, dict[str, Tally]]:
    """Ask everything both ways."""
    agents = Agents.for_scripts()
    asked = {
        "planner": agents.planner,
        "lead": agents.lead,
        "analyzer": evolve(agents.analyzer, embedded_respond=None),
    }
    connected = connect(parse_teacher(DEFAULT_MODEL))
    teachers = {way: evolve(connected, reasons=reasons) for way, reasons in WAYS.items()}
    found = {name: {way: Tally() for way in WAYS} for name in asked}
    for number, (name, inputs, good) in enumerate(questions(scripts, every)):
        for way, teacher in teachers.items():
            await put(asked[name], teacher, inputs, good, found[name][way])
        if number % 20 == 19:
            print(f"{number + 1} questions asked", flush=True)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scripts", type=Path, default=Path(__file__).parent / "scripts")
    parser.add_argument(
        "--every", type=int, default=2, help="1 for all labelled feedbacks, 2 for half of them"
    )
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.scripts, arguments.every))
    figures = {name: {way: tally.figures() for way, tally in ways.items()} for name, ways in found.items()}
    better = [name for name, ways in found.items() if ways["reasoned"].good > ways["direct"].good]
    print(json.dumps({"model": DEFAULT_MODEL, **figures, "better": better}))


if __name__ == "__main__":
    main()
