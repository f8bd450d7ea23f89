"""Optimizer steps on one prompt with 1, 2 and 4 rejected answers: ours, with low memory, and TRL's ORPO.

Same model, adapters, texts and precision, in a fresh process each, one after the other. A step is a forward
and backward pass over the whole group and the optimizer. TRL reads every row by itself, as its users would
give it the dataset. Ours also carries the teacher's top-20 at every chosen token, which TRL has no use for.
The answers have nothing in common, or with `--common` a share of each rejected one is how the chosen one
begins; `common_beginnings.py` tells what it is in real rows.

What is compared is the fastest step after the first, in seconds of processor time, so that other load on the
machine hurts nobody much. The first step also fetches the process's memory from the system: that happens once
in a training, and how long it takes says more about the machine than about the trainer; it is printed beside.
Memory is the peak over all steps above what the process holds once every weight has been used.

"Operations" are the multiplications and additions that texts, model and adapters ask for, attention and
vocabulary head included, if nothing is computed twice: their ratio is how much faster ours would be if both
ran at the same rate and did nothing else. TRL also loses time to what is no such operation, above all to
passes over logits of the whole vocabulary. The last line is one JSON object.

    python bench/train_throughput.py [--prompt 750] [--answer 400] [--common 0] [--rejected 1 2 4] [--steps 3]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("trl", "ours", "low_memory")
GOALS = {1: 2.2, 2: 3.0, 4: 4.5}


def main() -> None:
    """Run every way in a child process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompt", type=int, default=750, help="tokens")
    parser.add_argument("--answer", type=int, default=400, help="tokens")
    parser.add_argument("--common", type=float, default=0.0, help="share of each rejected answer")
    parser.add_argument("--rejected", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--student", default="smollm2")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args.child, args)))
        return
    results = [_run(way, count, args) for count in args.rejected for way in args.ways]
    for count in args.rejected:
        _compare({result["way"]: result for result in results if result["rejected"] == count}, count)
    sizes = {"prompt": args.prompt, "answer": args.answer, "common": args.common}
    print(json.dumps({**sizes, "results": results}))


def _run(way: str, rejected: int, args: argparse.Namespace) -> dict[str, Any]:
    options = [
        "--prompt",
        args.prompt,
        "--answer",
        args.answer,
        "--common",
        args.common,
        "--rejected",
        rejected,
        "--steps",
        args.steps,
        "--student",
        args.student,
    ]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "TRL_EXPERIMENTAL_SILENCE": "1"}
    command = [sys.executable, __file__, "--child", way, *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{way} with {rejected} rejected failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = {"way": way, "rejected": rejected, **json.loads(done.stdout.splitlines()[-1])}
    rate = result["operations"] / result["cpu_seconds"] / 1e9
    print(
        f"{rejected} rejected  {way:<10}  {result['cpu_seconds']:6.1f} s cpu  {result['seconds']:6.1f} s"
        f"  (first step {result['first_cpu_seconds']:.1f} s cpu)  {result['peak_mb']:5.0f} MB above the model"
        f"  {rate:4.0f} G operations/s",
        flush=True,
    )
    return result


def _compare(by_way: dict[str, dict[str, Any]], rejected: int) -> None:
    """Ours in relation to the peer, with what was set out to be reached."""
    peer = by_way.pop("trl", None)
    for way, result in by_way.items() if peer else ():
        faster, first, fewer = (
            peer[name] / result[name] for name in ("cpu_seconds", "first_cpu_seconds", "operations")
        )
        smaller = result["peak_mb"] / peer["peak_mb"]
        goal = f"goal {GOALS.get(rejected, 1.0)}x and 0.50" if way == "ours" else "goal 0.25 of the memory"
        print(
            f"{rejected} rejected  {way:<10}  {faster:.2f}x as fast (first step {first:.2f}x,"
            f" operations {fewer:.2f}x), {smaller:.2f} of the memory  ({goal})"
        )


def measure(way: str, args: argparse.Namespace) -> dict[str, Any]:
    """A few steps in this process."""
    import torch
    from transformers import TrainerCallback

    from dorpo.student import load_student

    steps: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        """Looks at the clocks when a step begins and ends."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.process_time(), time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            cpu, wall = self.begun
            steps.append((time.process_time() - cpu, time.monotonic() - wall))

    torch.manual_seed(0)
    student = load_student(args.student)
    (count,) = args.rejected
    ids = texts(student, args.prompt, args.answer, count, args.common)
    with tempfile.TemporaryDirectory() as folder:
        make = trl_trainer if way == "trl" else our_trainer
        trainer = make(student, ids, folder, args.steps, way == "low_memory")
        trainer.add_callback(Clock())
        with torch.no_grad():
            student.model(torch.tensor([[0]]))  # weights come from the file when they are first used
        resident = resident_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        trainer.train()
    cpu, wall = min(steps[1:] or steps)
    return {
        "cpu_seconds": cpu,
        "seconds": wall,
        "first_cpu_seconds": steps[0][0],
        "peak_mb": resident_mb("VmHWM") - resident,
        "operations": operations(student.model, way, ids),
    }


def operations(model: Any, way: str, ids: tuple[list[int], list[list[int]]]) -> int:
    """Floating-point operations of a step, see the module.

    A frozen matrix is used twice, forward and for the slope of its input; an adapter's a third time, for its
    own; attention is two products forward and four backward.
    """
    config = model.config
    adapters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    vocabulary = config.vocab_size * config.hidden_size
    frozen = sum(parameter.numel() for parameter in model.parameters()) - adapters - vocabulary
    prompt, (chosen, *rejected) = ids
    if way == "trl":
        texts = [(*prompt, *answer) for other in rejected for answer in (chosen, other)]
        tokens = scored = sum(map(len, texts))
        pairs = sum(len(text) ** 2 // 2 for text in texts)
    else:
        # Every beginning once: it is a token, what it ends with, and a row of the attention, all before.
        answers = [chosen, *rejected]
        beginnings = {tuple(answer[:end]) for answer in answers for end in range(1, len(answer))}
        tokens = len(prompt) + len(beginnings)
        scored = len({tuple(answer[:end]) for answer in answers for end in range(1, len(answer) + 1)})
        pairs = len(prompt) ** 2 // 2 + sum(len(prompt) + len(text) for text in beginnings)
    layers = (4 * frozen + 6 * adapters) * tokens
    return layers + 4 * vocabulary * scored + 12 * config.hidden_size * config.num_hidden_layers * pairs


def texts(
    student: Any, prompt: int, answer: int, rejected: int, common: float = 0.0
) -> tuple[list[int], list[list[int]]]:
    """Token ids of a prompt, a chosen and the rejected answers, cut out of a module of Python's library.

    The common beginnings of the rejected answers are all of one length, as of rewrites of one script.
    """
    source = Path(argparse.__file__).read_text(encoding="utf-8")
    ids = student.tokens.tokenizer.encode(source, add_special_tokens=False)
    rest = ids[prompt:]
    answers = [rest[n * answer : (n + 1) * answer] for n in range(rejected + 1)]
    assert len(answers[-1]) == answer, "the source is too short"
    begin = round(common * answer)
    chosen, *others = answers
    return ids[:prompt], [chosen, *(chosen[:begin] + other[begin:] for other in others)]


def our_trainer(
    student: Any, ids: tuple[list[int], list[list[int]]], folder: str, steps: int, low_memory: bool
) -> Any:
    """DORPO on one group, with made-up soft labels of full width."""
    from dorpo.align import Alignment, Kind, Target
    from dorpo.batches import Group
    from dorpo.trainer import DORPOConfig, DORPOTrainer

    prompt, (chosen, *rejected) = ids
    logps = tuple(math.log(p) for p in [0.8, *[0.01] * 19])
    targets = tuple(
        Target((token, *[other for other in range(20) if other != token][:19]), logps) for token in chosen
    )
    labels = Alignment((Kind.ONE_TO_ONE,) * len(chosen), targets)
    group = Group(tuple(prompt), tuple(chosen), labels, tuple(map(tuple, rejected)))
    config = DORPOConfig(
        output_dir=folder, max_steps=steps, use_cpu=True, save_strategy="no", low_memory=low_memory
    )
    return DORPOTrainer(student.model, config, [group])


def trl_trainer(
    student: Any, ids: tuple[list[int], list[list[int]]], folder: str, steps: int, _low_memory: bool
) -> Any:
    """The peer on the same texts, a row for every rejected answer."""
    import pyarrow
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    tokenizer = student.tokens.tokenizer
    prompt, chosen, *rejected = (tokenizer.decode(part) for part in (ids[0], *ids[1]))
    rows = [{"prompt": prompt, "chosen": chosen, "rejected": text} for text in rejected]
    config = ORPOConfig(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(rows),
        max_length=4096,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    # With a fingerprint of our own: some releases of its libraries cannot compute one.
    dataset = Dataset(InMemoryTable(pyarrow.Table.from_pylist(rows)), fingerprint="bench")
    return ORPOTrainer(model=student.model, args=config, train_dataset=dataset, processing_class=tokenizer)


def resident_mb(name: str) -> float:
    """A figure of this process in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
