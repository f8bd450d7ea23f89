"""Memory that the loss takes on top of the hidden states: all logits at once, against a few tokens at a time.

    python bench/loss_memory.py [--tokens 1600] [--vocabulary 151936] [--hidden 896] [--alternatives 20]

Forward and backward pass of the objective's two numbers per token, with a frozen vocabulary head, as adapters
are trained. Each form runs in a process of its own; memory is the peak above what the inputs take, and the
two gradients must agree. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WAYS = ("plain", "chunked")
GOAL = 0.1


def main() -> None:
    """Run both forms in child processes, and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, default=1600, help="of responses")
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=896, help="width of the model")
    parser.add_argument("--alternatives", type=int, default=20, help="the teacher's, of a token")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--gradient", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        plain, chunked = (_run(way, Path(folder), args) for way in WAYS)
        apart = difference(Path(folder))
    ratio = chunked["peak_mb"] / plain["peak_mb"]
    print(f"chunked takes {ratio:.3f} of the memory (goal {GOAL})")
    print(f"gradients differ by {apart:.1e} of the largest slope")
    result = {"tokens": args.tokens, "vocabulary": args.vocabulary, "hidden": args.hidden}
    figures = {"plain": plain, "chunked": chunked, "ratio": round(ratio, 4), "goal": GOAL}
    print(json.dumps({**result, **figures, "gradient_difference": apart}))


def _run(way: str, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    options = {name: value for name, value in vars(args).items() if name not in ("child", "gradient")}
    command = [sys.executable, __file__, "--child", way, "--gradient", str(folder / way)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    # Freed memory goes back at once: otherwise the allocator is measured.
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{way} failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    took = f"{result['cpu_seconds']:6.1f} s cpu  {result['seconds']:6.1f} s"
    print(f"{way:<8} {result['peak_mb']:7.0f} MB  {took}", flush=True)
    return result


def measure(args: argparse.Namespace) -> dict[str, float]:
    """One forward and backward pass in this process; leaves the gradient of the hidden states in a file."""
    import torch

    hidden, head, labels = inputs(args)
    form = _plain if args.child == "plain" else _chunked
    form(hidden[:2].detach().requires_grad_(), head, [label[:2] for label in labels])  # starts the threads
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    resident, cpu, wall = _memory("VmRSS"), time.process_time(), time.monotonic()
    form(hidden, head, labels)
    figures = {
        "peak_mb": round(_memory("VmHWM") - resident, 1),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "seconds": round(time.monotonic() - wall, 2),
    }
    torch.save(hidden.grad, args.gradient)
    return figures


def inputs(args: argparse.Namespace) -> tuple[Any, Any, list[Any]]:
    """Hidden states, a frozen head, and labels: the text and alternatives with 0.95 of the mass."""
    import torch

    from dorpo.head import Head

    torch.manual_seed(0)
    hidden = torch.randn(args.tokens, args.hidden).requires_grad_()
    head = Head(torch.randn(args.vocabulary, args.hidden) / args.hidden**0.5)
    target = torch.randint(0, args.vocabulary, (args.tokens,))
    # Distinct as they must be: neighbours of the text's id, itself first.
    ids = (target[:, None] + torch.arange(args.alternatives)) % args.vocabulary
    logps = (torch.randn(args.tokens, args.alternatives).softmax(-1) * 0.95).log()
    return hidden, head, [target, ids, logps, torch.ones_like(ids, dtype=torch.bool)]


def _plain(hidden: Any, head: Any, labels: list[Any]) -> None:
    from dorpo.loss import topk_kl_and_logps

    _backward(*topk_kl_and_logps(head.logits(hidden), *labels))


def _chunked(hidden: Any, head: Any, labels: list[Any]) -> None:
    from dorpo.chunked_head import chunked_topk_kl_and_logps

    _backward(*chunked_topk_kl_and_logps(hidden, head, *labels))


def _backward(kl: Any, logps: Any) -> None:
    """Both numbers get a slope, as from the KL and from the odds ratio."""
    (kl.mean() - 0.1 * logps.mean()).backward()


def difference(folder: Path) -> float:
    """The largest difference of the two gradients, as a share of the largest slope."""
    import torch

    plain, chunked = (torch.load(folder / way, weights_only=True) for way in WAYS)
    apart = float((plain - chunked).abs().max() / plain.abs().max())
    assert apart < 1e-4, "the two forms compute different gradients"
    return apart


def _memory(name: str) -> float:
    """A figure of this process in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
