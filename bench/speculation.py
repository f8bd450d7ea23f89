"""The embedded model writing a script that mostly stays as it is: with a draft, against one token at a time.

In one run, in turn, with one thread, top-20 log-probabilities captured everywhere:

* `one_by_one`: greedy decoding without a draft;
* `speculation`: greedy decoding with the script before the change as the draft;
* `misled`: greedy decoding with another script as the draft, of which next to nothing is copied: what a draft
  costs where it does not help;
* `batched_16`, `batched_64`: the answer is given and only scored, the most that the machine allows;
* `oracle`: as speculation, but what is chosen is read off the changed script, not the model's logits.

The model is too small to follow an instruction and keep a script, so the prompt shows the changed script and
an earlier turn that wrote it again: what it writes is greedy decoding, the change is ours. Scripts of which
less than four fifths of the lines are in what it wrote are listed, not counted. Figures are tokens for each
second of processor time, best round of each script, as other load must not count. The goal is four fifths of
the ratio between batched and one by one. The last line is one JSON object.

    python bench/speculation.py [--rounds 2] [--scripts FOLDER]
"""

from __future__ import annotations

import argparse
import difflib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field

from precision_shaking.sape.embedded.drafting import Drafter
from precision_shaking.sape.embedded.models import DEFAULT_MODEL, locate
from precision_shaking.sape.embedded.probabilities import Floats, score_rows
from precision_shaking.sape.embedded.runtime import Decoded, ModelOptions, Runtime
from precision_shaking.sape.embedded.sampling import Settings

TOP, CONTEXT, GOAL, STAYS = 20, 4096, 0.8, 0.8
ROOM = 40  # tokens that an answer may be longer than the changed script
EVERY = 15  # lines from one change to the next


@define
class Case:
    """One script: what is asked, what it is expected to copy, and what came of it."""

    name: str
    prompt: list[int]
    draft: list[int]
    target: list[int]
    before: str
    seconds: dict[str, float] = field(factory=dict)
    written: dict[str, list[int]] = field(factory=dict)

    def measure(self, way: str, work: Callable[[], list[int]]) -> None:
        """Do the work; keep what it wrote and its best time."""
        start = time.process_time()
        self.written[way] = work()
        self.seconds[way] = min(self.seconds.get(way, float("inf")), time.process_time() - start)


def changed(script: str) -> str:
    """Rename a word, insert a line and delete one in turn, a change every few lines."""
    lines = script.split("\n")
    for number, start in enumerate(range(EVERY // 2, len(lines) - 1, EVERY)):
        at = next((n for n in range(start, len(lines)) if lines[n].strip()), start)
        indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
        if number % 3 == 0:
            head, _, tail = lines[at].rpartition(" ")
            lines[at] = f"{head} new_{tail}" if head.strip() else f"{indent}new_{lines[at].lstrip()}"
        elif number % 3 == 1:
            lines.insert(at, f"{indent}# This part was checked.")
        else:
            del lines[at]
    return "\n".join(lines)


def case(runtime: Runtime, path: Path) -> Case:
    """The prompt that makes the model write the changed script."""
    before = path.read_text("utf-8")
    fenced = f"```python\n{changed(before)}```"
    ask = {"role": "user", "content": f"Write this script again.\n{fenced}"}
    encode = runtime.tokenizer.encode
    prompt = runtime.tokenizer.encode_chat([ask, {"role": "assistant", "content": fenced}, ask])
    return Case(path.stem, prompt, encode(f"```python\n{before}```"), encode(fenced), before)


class Forced:
    """A sampler that knows the answer."""

    def __init__(self, target: Sequence[int]) -> None:
        self._rest = list(target)

    def choose(self, _: Floats) -> int:
        """The answer's next token."""
        return self._rest.pop(0)


def greedy(runtime: Runtime, case: Case, draft: Sequence[int]) -> list[int]:
    """The model's own answer."""
    decoded: list[Decoded] = []
    settings = Settings(max_tokens=len(case.target) + ROOM, top_logprobs=TOP)
    runtime.generate(case.prompt, settings, decoded.append, draft)
    return [step.token for step in decoded]


def oracle(runtime: Runtime, case: Case) -> list[int]:
    """The changed script, with what decoding it with the draft costs."""
    runtime._read_prompt(case.prompt[:-1])
    drafter, newest, left = Drafter(case.draft), case.prompt[-1], len(case.target)
    forced: Any = Forced(case.target)
    while left:
        for token, logits in runtime._chosen_after(newest, drafter.propose(min(left, 64) - 1), forced):
            score_rows(logits[None], np.array([token], np.int32), TOP)
            drafter.confirm(token)
            newest, left = token, left - 1
    return case.target


def measure(runtimes: dict[int, Runtime], case: Case, foreign: Sequence[int]) -> None:
    """One round of every way; each finds its prompt already read."""
    runtime = runtimes[64]
    runtime.generate(case.prompt, Settings(max_tokens=1), lambda _: None)
    case.measure("one_by_one", lambda: greedy(runtime, case, ()))
    case.measure("speculation", lambda: greedy(runtime, case, case.draft))
    case.measure("misled", lambda: greedy(runtime, case, foreign))
    case.measure("oracle", lambda: oracle(runtime, case))
    answer = case.written["one_by_one"]
    for rows, other in runtimes.items():
        other.score(case.prompt, answer[:1], TOP)
        case.measure(f"batched_{rows}", lambda: [s.token for s in other.score(case.prompt, answer, TOP)])  # noqa: B023 -- called at once


def stays(runtime: Runtime, case: Case) -> float:
    """The share of the old script's lines that the model wrote again, in order."""
    text = b"".join(map(runtime.tokenizer.piece, case.written["speculation"])).decode("utf-8", "replace")
    old = case.before.split("\n")
    blocks = difflib.SequenceMatcher(None, old, text.split("\n"), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(old)


def acceptance(case: Case) -> tuple[int, int]:
    """Guessed tokens and those of them that were right: the drafter asked again, without the model."""
    answer, drafter = case.written["speculation"], Drafter(case.draft)
    guessed = right = at = 0
    while at < len(answer):
        guess = drafter.propose(len(answer) - at - 1)
        good = next((n for n, token in enumerate(guess) if token != answer[at + n]), len(guess))
        guessed, right = guessed + len(guess), right + good
        for token in answer[at : at + good + 1]:
            drafter.confirm(token)
        at += good + 1
    return guessed, right


def speed(cases: Sequence[Case], way: str) -> float:
    """Tokens a second over all cases."""
    return sum(len(case.written[way]) for case in cases) / sum(case.seconds[way] for case in cases)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    # Text files: they are what is rewritten, not a part of the product.
    parser.add_argument("--scripts", type=Path, default=Path(__file__).parent / "scripts")
    arguments = parser.parse_args()
    path = locate(DEFAULT_MODEL)
    runtimes = {
        rows: Runtime(path, ModelOptions(context=CONTEXT, batch=rows, threads=1)) for rows in (16, 64)
    }
    counted, kept, left_out = [], [], {}
    cases = [case(runtimes[64], file) for file in sorted(arguments.scripts.glob("*.txt"))]
    for number, one in enumerate(cases):
        for _ in range(arguments.rounds):
            measure(runtimes, one, cases[number - 1].draft)
        share = stays(runtimes[64], one)
        speeds = ", ".join(f"{way} {speed([one], way):.0f}" for way in one.seconds)
        print(f"{one.name:13} {share:4.0%} stays, {speeds}")
        if share >= STAYS:
            counted.append(one)
            kept.append(share)
        else:
            left_out[one.name] = round(share, 2)
    print(json.dumps(result(counted, kept, left_out)))


def result(cases: Sequence[Case], kept: Sequence[float], left_out: dict[str, float]) -> dict[str, Any]:
    """The figures, and whether the goal is reached."""
    speeds = {way: speed(cases, way) for way in cases[0].seconds}
    allowed = max(speeds["batched_16"], speeds["batched_64"]) / speeds["one_by_one"]
    ratio = speeds["speculation"] / speeds["one_by_one"]
    guessed, right = (sum(counts) for counts in zip(*map(acceptance, cases), strict=True))
    same = [case.written["one_by_one"] == case.written["speculation"] for case in cases]
    return {
        "scripts": len(cases),
        "left_out": left_out,
        "stays": round(sum(kept) / len(kept), 3),
        "tokens": sum(len(case.written["speculation"]) for case in cases),
        "tokens_per_second": {way: round(value, 1) for way, value in speeds.items()},
        "batched_over_one_by_one": round(allowed, 3),
        "speculation_over_one_by_one": round(ratio, 3),
        "share_of_allowed": round(ratio / allowed, 3),
        "misled_over_one_by_one": round(speeds["misled"] / speeds["one_by_one"], 3),
        "oracle_share_of_allowed": round(speeds["oracle"] / speeds["one_by_one"] / allowed, 3),
        "acceptance": round(right / guessed, 3),
        "identical": round(sum(same) / len(same), 3),
        "reached": len(cases) >= 8 and ratio >= GOAL * allowed,
    }


if __name__ == "__main__":
    main()
