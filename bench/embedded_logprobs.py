"""Decoding with the top-20 log-probabilities captured: against without, and against llama-cpp-python's own.

All decode the same greedy tokens of the embedded model in one run, in turn, with one thread. The figures are
tokens for each second of processor time, best round each, so that other load on the machine neither helps nor
hurts anybody; `wall` are tokens a second on the clock. The binding's own log-probabilities are asked for in
both its ways, as a complete answer (`peer`) and streamed. The last line is one JSON object.

    python bench/embedded_logprobs.py [--tokens 600] [--rounds 2]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import time
from collections.abc import Callable
from typing import Any

from attrs import frozen

from precision_shaking.sape.embedded.library import load_library
from precision_shaking.sape.embedded.models import DEFAULT_MODEL, locate
from precision_shaking.sape.embedded.runtime import Decoded, ModelOptions, Runtime
from precision_shaking.sape.embedded.sampling import Settings

TOP = 20
CONTEXT = 1024
# Plain text, so that the model does not end early.
PROMPT = (
    "# A long Python module with many small functions.\nimport os\nimport sys\n\n\ndef read_file(path):\n"
)
OVER_WITHOUT, OVER_PEER = 0.9, 6.0

Decode = Callable[[], list[int]]


@frozen
class Speed:
    """Tokens a second, of the processor's time and on the clock."""

    processor: float
    wall: float


def timed(decode: Decode) -> tuple[list[int], Speed]:
    """Decode once; the tokens, and how fast they came."""
    processor, wall = time.process_time(), time.perf_counter()
    tokens = decode()
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return tokens, Speed(len(tokens) / processor, len(tokens) / wall)


def ours(tokens: int) -> Callable[[int | None], list[int]]:
    """Our decode loop."""
    runtime = Runtime(locate(DEFAULT_MODEL), ModelOptions(context=CONTEXT, threads=1))
    prompt = runtime.tokenizer.encode(PROMPT)

    def decode(top: int | None) -> list[int]:
        decoded: list[Decoded] = []
        runtime.generate(prompt, Settings(max_tokens=tokens, top_logprobs=top), decoded.append)
        assert all((step.scores is None) == (top is None) for step in decoded)
        return [step.token for step in decoded]

    return decode


def peer(tokens: int) -> Callable[[int | None, bool], list[int]]:
    """The binding's own completion; for log-probabilities it must keep the logits of every token."""
    import llama_cpp

    llama: Any = llama_cpp.Llama(
        str(locate(DEFAULT_MODEL)),
        n_ctx=CONTEXT,
        n_batch=ModelOptions().batch,
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        verbose=False,
    )
    prompt = llama.tokenize(PROMPT.encode(), add_bos=False)

    def decode(top: int | None, stream: bool) -> list[int]:
        answer = llama.create_completion(
            prompt, max_tokens=tokens, temperature=0.0, repeat_penalty=1.0, logprobs=top, stream=stream
        )
        if stream:
            assert sum(1 for _ in answer) > 1
        return llama.input_ids[len(prompt) : llama.n_tokens].tolist()

    return decode


def main() -> None:
    """Measure, check that everybody decoded the same, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    load_library()
    own, other = ours(arguments.tokens), peer(arguments.tokens)
    ways: dict[str, Decode] = {
        "without": lambda: own(None),
        "captured": lambda: own(TOP),
        "peer_without": lambda: other(None, False),
        "peer": lambda: other(TOP, False),
        "peer_streamed": lambda: other(TOP, True),
    }
    speeds: dict[str, list[Speed]] = {name: [] for name in ways}
    for number in range(arguments.rounds):
        answers = {}
        for name, way in ways.items():
            answers[name], speed = timed(way)
            speeds[name].append(speed)
            print(f"{number + 1} {name:13} {speed.processor:6.1f} tokens/s, {speed.wall:.1f} by the clock")
        shortest = min(len(tokens) for tokens in answers.values())
        assert len({tuple(tokens[:shortest]) for tokens in answers.values()}) == 1, (
            "they decoded different tokens"
        )
    print(json.dumps(result(arguments.tokens, speeds)))


def result(tokens: int, speeds: dict[str, list[Speed]]) -> dict[str, Any]:
    """The figures, and whether the goals are reached."""
    best = {name: max(speed.processor for speed in measured) for name, measured in speeds.items()}
    wall = {name: max(speed.wall for speed in measured) for name, measured in speeds.items()}
    over_without = best["captured"] / best["without"]
    over_peer = best["captured"] / best["peer"]
    return {
        "tokens": tokens,
        "top": TOP,
        "tokens_per_second": {name: round(speed, 1) for name, speed in best.items()},
        "wall": {name: round(speed, 1) for name, speed in wall.items()},
        "captured_over_without": round(over_without, 3),
        "captured_over_peer": round(over_peer, 2),
        "captured_over_peer_streamed": round(best["captured"] / best["peer_streamed"], 2),
        "peer_version": importlib.metadata.version("llama-cpp-python"),
        "reached": over_without >= OVER_WITHOUT and over_peer >= OVER_PEER,
    }


if __name__ == "__main__":
    main()
