"""Where the command line takes the user's answers from: a file of them, or the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from rich.console import Console

from precision_shaking.sape.vocabulary import Help, Verdict

_VERDICTS = {
    **{"a": Verdict.ACCEPTED, "accept": Verdict.ACCEPTED},
    **{"r": Verdict.REDO, "redo": Verdict.REDO},
    **{"f": Verdict.FURTHER_EDIT, "further edit": Verdict.FURTHER_EDIT},
}
_HELP = {"r": Help.RETRY, "k": Help.SKIP, "s": Help.STOP, **{str(choice): choice for choice in Help}}
_WAYS_ON = """\
[r]etry: ask the first teacher once more
s[k]ip:  go on with the next step; nothing of this one stays
[s]top:  end the session; what was accepted stays"""
STOP = "stop"


class NoAnswerError(Exception):
    """Nobody is there to answer, or the answer does not fit; the message is one sentence for the user."""


@frozen
class Answer:
    """To a proposal: `verdict` is one of `vocabulary.Verdict`, "stop", or None for the words alone."""

    verdict: str | None = None
    words: str = ""
    amended: str | None = None


@frozen
class HelpAnswer:
    """When every teacher failed: one of `vocabulary.Help`, and perhaps the user's own script."""

    choice: str
    script: str | None = None


@frozen
class ScriptedAnswers:
    """What was prepared to be said; each kind is used up in its own order."""

    to_proposals: deque[Answer] = field(factory=deque)
    to_calls_for_help: deque[HelpAnswer] = field(factory=deque)


def read_answers(path: Path) -> ScriptedAnswers:
    """Read a file with an answer a line.

    A line is {"verdict": "accepted" | "redo" | "further_edit" | "stop", "text": …, "amended": …}, with the
    text alone for the analyzer to read, or {"help": "retry" | "skip" | "stop", "script": …}.

    Raises:
        NoAnswerError: The file or a line of it cannot be read.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except OSError as error:
        raise NoAnswerError(f"The answers {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise NoAnswerError(f"The answers {path} are no UTF-8 text: save them as UTF-8.") from error
    answers = ScriptedAnswers()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = _answer(json.loads(line))
        except (ValueError, TypeError) as error:
            raise NoAnswerError(f"Line {number} of {path} is no answer: {error}.") from error
        if isinstance(answer, Answer):
            answers.to_proposals.append(answer)
        else:
            answers.to_calls_for_help.append(answer)
    return answers


def _answer(data: Any) -> Answer | HelpAnswer:
    if not isinstance(data, dict):
        raise TypeError("it is no JSON object")
    if "help" in data:
        help_answer = HelpAnswer(data.pop("help"), data.pop("script", None))
        if data or help_answer.choice not in set(Help):
            raise ValueError("help is retry, skip or stop")
        return help_answer
    answer = Answer(data.pop("verdict", None), data.pop("text", ""), data.pop("amended", None))
    if data:
        raise ValueError(f"{', '.join(map(repr, data))} is unknown; verdict, text and amended are known")
    if answer.verdict is not None and answer.verdict not in {*Verdict, STOP}:
        raise ValueError("verdict is accepted, redo, further_edit or stop")
    if answer.verdict is None and not answer.words:
        raise ValueError("it has neither a verdict nor text")
    return answer


@define
class Answers:
    """Gives the scripted answers one after the other, then asks at the terminal, if there is one."""

    _scripted: ScriptedAnswers
    _console: Console

    async def to_proposal(self) -> Answer:
        """What the user thinks.

        Raises:
            NoAnswerError: Nobody is there to answer.
        """
        if self._scripted.to_proposals:
            return self._scripted.to_proposals.popleft()
        while True:
            words = await self._ask("[a]ccept, [r]edo, [f]urther edit, [s]top, or say what you think: ")
            if words.lower() in {"s", STOP}:
                return Answer(STOP)
            verdict = _VERDICTS.get(words.lower())
            if verdict is Verdict.FURTHER_EDIT:
                return Answer(
                    verdict, await self._ask_until_said("It stays. What should change about it next? ")
                )
            if verdict is Verdict.REDO:
                return Answer(verdict, await self._ask("What was wrong with it? (Enter for no words) "))
            if verdict is not None or words:
                return Answer(verdict, "" if verdict else words)

    async def to_help(self) -> HelpAnswer:
        """How to go on.

        Raises:
            NoAnswerError: Nobody is there to answer.
        """
        if self._scripted.to_calls_for_help:
            return self._scripted.to_calls_for_help.popleft()
        self._console.print(_WAYS_ON, markup=False)
        while True:
            choice = _HELP.get((await self._ask("What shall happen? [r/k/s] ")).lower())
            if choice is not None:
                return HelpAnswer(choice)

    async def _ask_until_said(self, question: str) -> str:
        while not (words := await self._ask(question)):
            pass
        return words

    async def _ask(self, question: str) -> str:
        if not sys.stdin.isatty():
            raise NoAnswerError("Nobody is there to answer: run this in a terminal, or give --answers.")
        self._console.print(question, end="", style="bold", markup=False)
        line = await _read_line()
        if not line:
            raise NoAnswerError("The terminal was closed.")
        return line.strip()


async def _read_line() -> str:
    """A line of the terminal, without a thread that Ctrl+C could not end."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(sys.stdin.fileno(), ready.set)
    except NotImplementedError:  # Windows
        return await asyncio.to_thread(sys.stdin.readline)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()
