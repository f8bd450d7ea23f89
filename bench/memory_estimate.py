"""A training's estimated memory beside what it takes: texts of several lengths, normal and with low memory.

Every case is a training in a fresh process: it is estimated as `python -m dorpo train` does it, and then
takes two steps, the second of which also holds the optimizer's numbers. Measured is the peak of the process
above what it held when every weight had been used, as the system counts it. The last line is one JSON object.

    python bench/memory_estimate.py [--prompts 200 750] [--answers 100 400] [--rejected 1 2 4]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from train_throughput import our_trainer, resident_mb, texts

STEPS = 2


def main() -> None:
    """Run every case in a child process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[200, 750], help="tokens")
    parser.add_argument("--answers", type=int, nargs="+", default=[100, 400], help="tokens")
    parser.add_argument("--rejected", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--student", default="smollm2")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(**args.child)))
        return
    results = []
    for shape in itertools.product(args.prompts, args.answers, args.rejected):
        for low_memory in (False, True):
            names = ("prompt", "answer", "rejected")
            results.append(
                _run({**dict(zip(names, shape, strict=True)), "low_memory": low_memory}, args.student)
            )
    ratios = [result["estimated_mb"] / result["measured_mb"] for result in results]
    print(f"estimated / measured: {min(ratios):.2f} to {max(ratios):.2f}")
    print(json.dumps({"student": args.student, "results": results}))


def _run(case: dict[str, Any], student: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", json.dumps({**case, "student": student})]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{case} failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = {**case, **json.loads(done.stdout.splitlines()[-1])}
    mode = "low memory" if case["low_memory"] else "normal"
    print(
        f"prompt {case['prompt']:4}  answers {case['answer']:4}  {case['rejected']} rejected  {mode:<10}"
        f"  {result['estimated_mb']:5.0f} MB estimated, {result['measured_mb']:5.0f} MB measured:"
        f"  {result['estimated_mb'] / result['measured_mb']:.2f}",
        flush=True,
    )
    return result


def measure(*, prompt: int, answer: int, rejected: int, low_memory: bool, student: str) -> dict[str, float]:
    """One case in this process."""
    import torch

    from dorpo.student import load_student

    torch.manual_seed(0)
    loaded = load_student(student)
    with tempfile.TemporaryDirectory() as folder:
        trainer = our_trainer(loaded, texts(loaded, prompt, answer, rejected), folder, STEPS, low_memory)
        memory = trainer.fit.memory
        with torch.no_grad():
            loaded.model(torch.tensor([[0]]))  # weights come from the file when they are first used
        resident = resident_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        trainer.train()
    measured = resident_mb("VmHWM") - resident
    return {"estimated_mb": memory.missing / 2**20, "measured_mb": measured}


if __name__ == "__main__":
    main()
