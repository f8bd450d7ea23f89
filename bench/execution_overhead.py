"""What the sandbox costs: the same script under plain Python, as a bounded process and under bubblewrap.

The three take turns, so that whatever else the machine does hits all of them. The last line is one JSON
object, its times in milliseconds from start to end.

    python bench/execution_overhead.py [--runs 50]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from precision_shaking.sape.execution import Backend, execute, isolation
from precision_shaking.sape.vocabulary import Outcome

SCRIPT = "print('hello')\n"


async def plain(path: Path) -> None:
    """Run the script as anybody would."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(path), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"hello\n"


async def sandboxed(backend: Backend) -> None:
    """Run the script as the engine does, preparation and clearing away included."""
    result = await execute(SCRIPT, backend=backend)
    assert result.outcome is Outcome.OK, result


async def measure(path: Path, runs: int) -> dict[str, list[float]]:
    """Return each way's times in milliseconds."""
    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "plain": lambda: plain(path),
        "process": lambda: sandboxed(Backend.PROCESS),
    }
    if (await isolation()).works:
        ways["bubblewrap"] = lambda: sandboxed(Backend.BUBBLEWRAP)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            started = time.perf_counter()
            await way()
            times[name].append(1000 * (time.perf_counter() - started))
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    runs = parser.parse_args().runs
    result: dict[str, float] = {"runs": runs}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        path.write_text(SCRIPT)
        measured = asyncio.run(measure(path, runs))
    for name, times in measured.items():
        result[f"{name}_median_ms"] = round(statistics.median(times), 1)
        result[f"{name}_p95_ms"] = round(sorted(times)[int(0.95 * (len(times) - 1))], 1)
        print(f"{name:12} median {result[f'{name}_median_ms']:6} ms   p95 {result[f'{name}_p95_ms']:6} ms")
    if "bubblewrap_median_ms" in result:
        result["added_ms"] = round(result["bubblewrap_median_ms"] - result["plain_median_ms"], 1)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
