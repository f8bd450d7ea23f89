"""The answer to a code action while a worker writes, against a server that has nothing to do.

Two real servers on stdio, as an editor starts them: on the document of one, a session's worker streams a long
script, every token with its 20 alternatives; the other only has the document open. The same request goes to
both in turn, so that whatever else the machine does hits both. The last line is one JSON object, its times in
milliseconds from the request's first byte to the answer's last.

    python bench/action_latency.py [--requests 400] [--teacher embedded/smollm2]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SERVE = [sys.executable, "-m", "precision_shaking", "serve"]
SCRIPTED = [sys.executable, str(Path(__file__).parents[1] / "tests" / "scripted_teacher.py")]
GOAL_MS = 20.0
# Between two requests, about what a cursor that is moved leaves an editor.
PAUSE_SECONDS = 0.01
# Between two tokens of the scripted teacher: 200 a second is more than a model in the cloud writes.
PACE_SECONDS = 0.005
PATIENCE_SECONDS = 120.0
SCRIPT = "".join(f"print('line {number}')\n" for number in range(1, 41))


class Server:
    """A language server's process, and the editor's end of its pipes."""

    def __init__(self, home: Path, teachers: list[str]) -> None:
        """Start it, initialize it and open the document."""
        environment = {**os.environ, "PRECISION_SHAKING_HOME": str(home)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(SERVE, stdin=pipe, stdout=pipe, env=environment)
        self._number = 0
        self._answers: queue.Queue[tuple[float, dict[str, Any]]] = queue.Queue()
        self.worker_writes = threading.Event()
        self.pieces = 0
        threading.Thread(target=self._read, daemon=True).start()
        self.uri = (home / "script.py").as_uri()
        options = {"clientCommands": True, "teachers": teachers}
        params = {"processId": os.getpid(), "capabilities": {}, "initializationOptions": options}
        self.ask("initialize", params)
        self.tell("initialized", {})
        item = {"uri": self.uri, "languageId": "python", "version": 1, "text": SCRIPT}
        self.tell("textDocument/didOpen", {"textDocument": item})

    def ask(self, method: str, params: dict[str, Any] | None) -> tuple[float, Any]:
        """Send a request and wait for its answer: the seconds that took, and the result."""
        self._number += 1
        began = time.perf_counter()
        self._send({"id": self._number, "method": method, "params": params})
        ended, answer = self._answers.get(timeout=PATIENCE_SECONDS)
        assert answer["id"] == self._number
        assert "error" not in answer, answer
        return ended - began, answer["result"]

    def tell(self, method: str, params: dict[str, Any] | None) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def code_actions(self) -> tuple[float, list[str]]:
        """Ask what can be done at the first line: the seconds that took, and the titles."""
        start = {"line": 0, "character": 0}
        where = {"textDocument": {"uri": self.uri}, "range": {"start": start, "end": start}}
        took, actions = self.ask("textDocument/codeAction", {**where, "context": {"diagnostics": []}})
        return took, [action["title"] for action in actions]

    def end(self) -> None:
        """End it properly."""
        self.ask("shutdown", None)
        self.tell("exit", None)
        self._process.wait(PATIENCE_SECONDS)

    def _send(self, content: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **content}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while (body := _body(self._process.stdout)) is not None:
            arrived = time.perf_counter()
            message = json.loads(body)
            if "method" not in message:
                self._answers.put((arrived, message))
            elif "id" in message:
                # Whatever it asks, a key or a setting, this editor has none.
                wants_key = message["method"] == "precisionShaking/apiKey"
                self._send({"id": message["id"], "result": {"key": None} if wants_key else None})
            elif message["method"] == "precisionShaking/sessionEvent":
                event = message["params"]["event"]
                if event["kind"] == "agent_text" and event["agent"] == "worker":
                    self.pieces += 1
                    self.worker_writes.set()


def _body(stream: IO[bytes]) -> bytes | None:
    """The next message; None at the end."""
    length = 0
    while header := stream.readline().strip():
        if header.lower().startswith(b"content-length:"):
            length = int(header.split(b":")[1])
    return stream.read(length) if length else None


@contextlib.contextmanager
def scripted_teacher(folder: Path) -> Iterator[str]:
    """A teacher that writes the script slowly, in a process of its own."""
    fields = {"reasoning": "Every line stays.", "script": SCRIPT * 150}
    answers = [f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items()]
    replies = {
        "planner": ['[[ ## steps ## ]]\n["Write it again."]\n\n[[ ## completed ## ]]'],
        "lead": ["[[ ## instruction ## ]]\nWrite it again.\n\n[[ ## completed ## ]]"],
        "worker": [{"content": "\n\n".join(answers), "pace": PACE_SECONDS}],
    }
    script = folder / "replies.json"
    script.write_text(json.dumps(replies), "utf-8")
    command = [*SCRIPTED, "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield f"openai/scripted@{json.loads(process.stdout.readline())['base_url']}"
        finally:
            process.terminate()


def measure(folder: Path, teacher: str, requests: int) -> tuple[dict[str, list[float]], float]:
    """The milliseconds of each server's answers, and the pieces of text per second that came meanwhile."""
    (folder / "busy").mkdir()
    (folder / "idle").mkdir()
    busy, idle = Server(folder / "busy", [teacher]), Server(folder / "idle", [teacher])
    start = {"uri": busy.uri, "request": "Write it again.", "instance": None}
    _, started = busy.ask("precisionShaking/startSession", start)
    assert busy.worker_writes.wait(PATIENCE_SECONDS), "the worker wrote nothing"
    times: dict[str, list[float]] = {"busy": [], "idle": []}
    began, before = time.perf_counter(), busy.pieces
    for _ in range(requests):
        took, titles = busy.code_actions()
        # While the worker writes there is no other; a model that is done earlier ends the measurement.
        if titles != ["Stop the session"]:
            break
        times["busy"].append(1000 * took)
        times["idle"].append(1000 * idle.code_actions()[0])
        time.sleep(PAUSE_SECONDS)
    rate = (busy.pieces - before) / (time.perf_counter() - began)
    busy.ask("precisionShaking/stopSession", {"session": started["session"]})
    for server in (busy, idle):
        server.end()
    return times, rate


def percentile(times: list[float], share: float) -> float:
    """The time that this share of the answers did not exceed, in milliseconds."""
    return round(sorted(times)[min(len(times) - 1, int(share * len(times)))], 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--teacher", help="instead of the scripted one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        teacher = arguments.teacher or stack.enter_context(scripted_teacher(Path(name)))
        times, rate = measure(Path(name), teacher, arguments.requests)
    result: dict[str, Any] = {
        "bench": "action_latency",
        "teacher": arguments.teacher or "scripted",
        "requests": len(times["busy"]),
        "pieces_per_second": round(rate, 1),
    }
    for name, found in times.items():
        result[f"{name}_median_ms"] = round(statistics.median(found), 2)
        result[f"{name}_p99_ms"] = percentile(found, 0.99)
        result[f"{name}_max_ms"] = round(max(found), 2)
        print(f"{name}: median {statistics.median(found):.2f} ms, p99 {percentile(found, 0.99):.2f} ms")
    result["goal_p99_ms"] = GOAL_MS
    print(json.dumps(result))


if __name__ == "__main__":
    main()
