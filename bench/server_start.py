"""Start of the language server, process start to initialize response, against an empty pygls server.

    python bench/server_start.py [--runs 20]

Both are started in turn, in the same run, with the same interpreter. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

OURS = [sys.executable, "-m", "precision_shaking", "serve"]
# The least a server of this library can be.
EMPTY = [
    sys.executable,
    "-c",
    "from pygls.lsp.server import LanguageServer; LanguageServer('empty', '1').start_io()",
]
GOAL = 1.15
# Installed packages have compiled modules; a checkout gets them from the uncounted first run.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def message(content: dict[str, object]) -> bytes:
    """A message with its header."""
    body = json.dumps({"jsonrpc": "2.0", **content}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def seconds_to_initialize(command: list[str]) -> float:
    """Start a server, wait for its answer to `initialize`, end it properly."""
    began = time.perf_counter()
    pipe = subprocess.PIPE
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, env=ENVIRONMENT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        params = {"processId": None, "rootUri": None, "capabilities": {}}
        process.stdin.write(message({"id": 1, "method": "initialize", "params": params}))
        process.stdin.flush()
        length = 0
        while header := process.stdout.readline().strip():
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        answer = json.loads(process.stdout.read(length))
        took = time.perf_counter() - began
        assert "capabilities" in answer["result"], answer
        process.stdin.write(message({"id": 2, "method": "shutdown"}))
        process.stdin.write(message({"method": "exit"}))
        process.stdin.close()
        process.stdout.read()
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {"ours": [], "empty": []}
    # The first of each warms the file cache and compiles, and is not counted.
    for run in range(runs + 1):
        for name, command in (("ours", OURS), ("empty", EMPTY)):
            took = seconds_to_initialize(command)
            if run:
                times[name].append(took)
    # Pairs measured next to each other share whatever else the machine was doing.
    ratio = statistics.median(a / b for a, b in zip(times["ours"], times["empty"], strict=True))
    for name, found in times.items():
        print(f"{name}: median {statistics.median(found):.3f} s, fastest {min(found):.3f} s")
    result = {
        "bench": "server_start",
        "runs": runs,
        "ours_seconds": round(statistics.median(times["ours"]), 4),
        "empty_seconds": round(statistics.median(times["empty"]), 4),
        "ratio": round(ratio, 3),
        "ratio_of_fastest": round(min(times["ours"]) / min(times["empty"]), 3),
        "goal": GOAL,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
