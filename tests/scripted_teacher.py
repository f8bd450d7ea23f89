"""A scripted OpenAI-compatible server: the only thing that tests fake is the model.

Each agent has a queue of replies; the last one repeats. A reply is the content, or an object:
    if_contains    whenever this is asked somewhere in the messages, the reply is given, and never used up
    content        the answer's text
    status         an HTTP status other than 200: the content is then the error's message
    code           the error's code beside its message
    headers        extra response headers
    delay          seconds before the first byte
    finish_reason  "stop" unless given
    logprobs       true (default): scores when asked for; false: they are null; "refuse": asking is a 400;
                   a key of ODD: scores that are odd in that way
    pace           seconds between one piece of a stream and the next
    drop_after     characters of content after which the connection is cut
    stall_after    characters of content after which nothing more comes, and the connection stays open
    encoding       of the bytes that are sent, utf-8 unless given: latin-1 makes them no UTF-8
    raw            the response's whole body, HTML perhaps, instead of a completion
Run: python tests/scripted_teacher.py --script FILE.json [--port 0] [--requests FILE]
It prints {"base_url": "http://127.0.0.1:…/v1"} and serves until it is ended. Each question goes into the
file of --requests as a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# The output field that only this agent's prompt asks for, in its system message.
MARKERS = {"planner": "steps", "analyzer": "verdict", "lead": "instruction", "worker": "reasoning"}


def answer(reasoning: str = "", **fields: str) -> str:
    """An agent's answer in the marker format, for example answer(reasoning="…", script="…")."""
    written = {"reasoning": reasoning, **fields} if reasoning else fields
    parts = [f"[[ ## {name} ## ]]\n{text}" for name, text in written.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def plan(*steps: str, reasoning: str = "") -> str:
    """A planner's answer; empty reasoning is none."""
    return answer(reasoning, steps=json.dumps(list(steps)))


def instruct(text: str, reasoning: str = "") -> str:
    """A lead's answer; empty reasoning is none."""
    return answer(reasoning, instruction=text)


def work(script: str, reasoning: str = "I follow the instruction.") -> str:
    """A worker's answer."""
    return answer(reasoning=reasoning, script=script.strip("\n"))


def verdict(word: str, reasoning: str = "") -> str:
    """A feedback analyzer's answer; empty reasoning is none."""
    return answer(reasoning, verdict=word)


class ScriptedTeacher:
    """The server. `requests` holds what was asked: {"agent", "body", "headers"}; use as a context manager."""

    def __init__(self, script: dict[str, list], port: int = 0, log: Path | None = None):
        self._log = log
        self._queues = {agent: list(replies) for agent, replies in script.items()}
        self._asked = threading.Condition()
        self.requests: list[dict] = []
        self.stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """Where a client finds it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def teacher(self, name: str = "openai/scripted") -> str:
        """The teacher text NAME@BASE_URL."""
        return f"{name}@{self.base_url}"

    def asked(self, agent: str) -> list[dict]:
        """The request bodies of one agent, oldest first."""
        return [request["body"] for request in self.requests if request["agent"] == agent]

    def was_asked(self, agent: str, seconds: float = 60, times: int = 1) -> None:
        """Wait until so many questions of an agent have come in."""
        with self._asked:
            if not self._asked.wait_for(lambda: len(self.asked(agent)) >= times, seconds):
                raise TimeoutError(f"the {agent} was not asked")

    def start(self) -> ScriptedTeacher:
        """Serve from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving and cut replies that still wait."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> ScriptedTeacher:
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def next_reply(self, agent: str, body: dict, headers: dict) -> dict:
        """Take the agent's next reply off its queue."""
        with self._asked:
            self.requests.append({"agent": agent, "body": body, "headers": headers})
            if self._log is not None:
                with self._log.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(self.requests[-1]) + "\n")
            self._asked.notify_all()
            unscripted = {"content": f"nothing is scripted for {agent}", "status": 400}
            replies = [
                {"content": reply} if isinstance(reply, str) else reply
                for reply in self._queues.get(agent) or [unscripted]
            ]
            asked = "\n".join(_text(message) for message in body["messages"])
            fitting = [reply for reply in replies if reply.get("if_contains", "\0") in asked]
            queue = [reply for reply in replies if "if_contains" not in reply] or [unscripted]
            reply = (fitting or queue)[0]
            if reply.get("logprobs") == "refuse" and body.get("logprobs"):
                return {"status": 400, "content": "this model does not support logprobs"}
            if not fitting and len(queue) > 1:
                # By its place: a script may hold the same reply twice.
                place = next(n for n, other in enumerate(replies) if other is reply)
                self._queues[agent] = replies[:place] + replies[place + 1 :]
            return reply


def agent_of(messages: list[dict]) -> str:
    """Whose prompt this is, by the field that it asks for; the rest of it may hold any marker."""
    text = "\n".join(_text(message) for message in messages if message["role"] in ("system", "developer"))
    found = [agent for agent, marker in MARKERS.items() if f"[[ ## {marker} ## ]]" in text]
    return found[0] if found else "unknown"


def _text(message: dict) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def token_scores(content: str, top: int) -> list[dict]:
    """Invented log-probabilities: words and spaces are tokens, each with `top` alternatives."""
    scores = []
    for piece in re.findall(r"\s*\S+|\s+", content):
        alternatives = [(piece, -0.1)] + [(f"other{n}", -3.0 - n) for n in range(top - 1)]
        entries = [{"token": t, "logprob": p, "bytes": _bytes(t)} for t, p in alternatives]
        scores.append({**entries[0], "top_logprobs": entries[:top]})
    return scores


def _bytes(text: str) -> list[int]:
    return list(text.encode("utf-8", "surrogatepass"))


def _each(scores: list[dict], **changes) -> list[dict]:
    return [{**score, **changes} for score in scores]


# Ways in which servers give log-probabilities that others do not expect.
ODD = {
    "nan": lambda scores: _each(scores, logprob=math.nan),
    "above zero": lambda scores: _each(scores, logprob=3.5),
    "no number": lambda scores: _each(scores, logprob=None),
    "words": lambda scores: _each(scores, logprob="likely"),
    "no bytes of a byte": lambda scores: _each(scores, bytes=[300, 1]),
    "nan among the others": lambda scores: _each(
        scores, top_logprobs=[{"token": "x", "logprob": math.nan, "bytes": [120]}]
    ),
    "fewer than tokens": lambda scores: [score for score in scores if "##" not in score["token"]],
    "of another text": lambda scores: _each(scores, token="?", bytes=[63]),
    "-9999": lambda scores: _each(scores[:1], logprob=-9999.0) + scores[1:],
    "no list": lambda scores: {"content": scores},
}


def _handler(teacher: ScriptedTeacher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = teacher.next_reply(agent_of(body["messages"]), body, dict(self.headers))
            if reply.get("delay") and teacher.stopping.wait(reply["delay"]):
                return
            try:
                if reply.get("status", 200) != 200:
                    error = {"message": reply["content"], "code": reply.get("code")}
                    self._send_json(reply["status"], {"error": error}, reply)
                elif "raw" in reply:
                    self._send(200, "text/html", reply["raw"].encode(), reply)
                elif body.get("stream"):
                    self._stream(body, reply)
                else:
                    self._send_whole(body, reply)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client stopped listening, as it may

        def _send_whole(self, body: dict, reply: dict) -> None:
            if "drop_after" in reply:
                self.close_connection = True
                return
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": reply["content"]},
                "finish_reason": reply.get("finish_reason", "stop"),
                "logprobs": _logprobs(body, reply, reply["content"]),
            }
            frame = _frame(body, "chat.completion")
            self._send_json(200, {**frame, "choices": [choice], "usage": _usage(reply)}, reply)

        def _stream(self, body: dict, reply: dict) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            for name, value in reply.get("headers", {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.close_connection = True
            sent = 0
            for piece in re.findall(r"\s*\S+|\s+", reply["content"]):
                if sent >= reply.get("drop_after", sent + 1):
                    return
                if sent >= reply.get("stall_after", sent + 1):
                    teacher.stopping.wait()
                    return
                if "pace" in reply and teacher.stopping.wait(reply["pace"]):
                    return
                sent += len(piece)
                choice = {"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}
                self._send_event(body, reply, [{**choice, "logprobs": _logprobs(body, reply, piece)}])
            end = {"index": 0, "delta": {}, "finish_reason": reply.get("finish_reason", "stop")}
            self._send_event(body, reply, [end])
            self._send_event(body, reply, [], usage=_usage(reply))
            self.wfile.write(b"data: [DONE]\n\n")

        def _send_event(self, body: dict, reply: dict, choices: list, **more) -> None:
            data = {**_frame(body, "chat.completion.chunk"), "choices": choices, **more}
            encoding = reply.get("encoding", "utf-8")
            # Escapes would hide the encoding, and only they can carry half of a surrogate pair.
            text = json.dumps(data, ensure_ascii=encoding == "utf-8")
            self.wfile.write(b"data: " + text.encode(encoding) + b"\n\n")
            self.wfile.flush()

        def _send_json(self, status: int, data: dict, reply: dict) -> None:
            self._send(status, "application/json", json.dumps(data).encode(), reply)

        def _send(self, status: int, kind: str, payload: bytes, reply: dict) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(payload)))
            for name, value in reply.get("headers", {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

    return Handler


def _frame(body: dict, kind: str) -> dict:
    return {"id": "scripted", "object": kind, "created": int(time.time()), "model": body["model"]}


def _usage(reply: dict) -> dict:
    words = len(reply.get("content", "").split())
    return {"prompt_tokens": 100, "completion_tokens": words, "total_tokens": 100 + words}


def _logprobs(body: dict, reply: dict, content: str) -> dict | None:
    kind = reply.get("logprobs", True)
    if not body.get("logprobs") or not (kind is True or kind in ODD):
        return None
    scores = token_scores(content, int(body.get("top_logprobs") or 1))
    return {"content": scores if kind is True else ODD[kind](scores), "refusal": None}


def main() -> None:
    """Serve a script from a file until stdin or the process ends."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server.")
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--requests", type=Path)
    arguments = parser.parse_args()
    script = json.loads(arguments.script.read_text("utf-8"))
    with ScriptedTeacher(script, arguments.port, arguments.requests) as teacher:
        sys.stdout.write(json.dumps({"base_url": teacher.base_url}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
