"""How a session looks in a terminal."""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterator
from typing import Protocol, TextIO

from attrs import define, field
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from precision_shaking.sape import events as e
from precision_shaking.sape.event_json import to_json
from precision_shaking.sape.instances import filesets
from precision_shaking.sape.vocabulary import DecidedBy, SessionStatus

_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_DIFF_HEAD = ("--- ", "+++ ")  # which name the sides
_REASONS = {
    "error": "rejected, it failed",
    "redo": "rejected, to be redone",
    "further_edit": "rejected, to be edited further",
    "amended": "rejected, you changed it",
}
_OUTCOMES = {"ok": ("ran", "green"), "script_error": ("failed", "red")}


class View(Protocol):
    """Where events are shown."""

    def show(self, event: e.SessionEvent) -> None:
        """Show one."""


@define
class JsonView:
    """One JSON object a line."""

    stream: TextIO

    def show(self, event: e.SessionEvent) -> None:
        """Write the event."""
        self.stream.write(json.dumps(to_json(event), ensure_ascii=False) + "\n")
        self.stream.flush()


def visible(text: str) -> str:
    """The text with its control and invisible characters spelled out: anything may come from a model."""

    def shown(character: str) -> str:
        if character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co"}:
            return character
        return f"<U+{ord(character):04X}>"

    return "".join(map(shown, text))


def unified_diff(before: str, after: str, *, several: bool = False) -> Text:
    """The change, coloured; without a change, a word that says so. `several`: each text is a set of files."""
    lines = _files_diff(before, after) if several else _diff(before, after, "current", "proposed")
    shown = [Text(visible(line), _style(line)) for line in lines]
    return Text("\n").join(shown) if shown else Text("nothing changes", "yellow")


def _style(line: str) -> str:
    return "bold" if line.startswith(_DIFF_HEAD) else _DIFF_STYLES.get(line[:1], "")


def _diff(before: str, after: str, old_name: str, new_name: str) -> Iterator[str]:
    old, new = before.removesuffix("\n").split("\n"), after.removesuffix("\n").split("\n")
    return difflib.unified_diff(old if before else [], new, old_name, new_name, lineterm="", n=3)


def _files_diff(before: str, after: str) -> Iterator[str]:
    """One diff of all files that change."""
    known = filesets.parse(before)
    for path, text in filesets.parse(after).items():
        old = known.get(path, "")
        yield from _diff(old, text, f"a/{path}" if old else "/dev/null", f"b/{path}")


def rows_in_words(rows: int, soft_labels: int) -> str:
    """How many rows there are, and how many of them have soft labels: `2 rows, both with soft labels`."""
    if rows == 0:
        return "no rows"
    if rows == 1:
        return f"1 row, {'with' if soft_labels else 'without'} soft labels"
    if soft_labels == 0:
        return f"{rows:,} rows, without soft labels"
    share = {rows: "both" if rows == 2 else "all"}.get(soft_labels, f"{soft_labels:,}")
    return f"{rows:,} rows, {share} with soft labels"


@define
class TerminalView:
    """The plan, the instructions, the worker's text as it comes, the run, the diff.

    Attributes:
        several: Whether the document is a set of files.
    """

    console: Console
    several: bool = False
    _steps: tuple[str, ...] = field(default=(), init=False)
    _streaming: str = field(default="", init=False)
    # What the worker said was read as it came.
    _streamed: bool = field(default=False, init=False)
    _proposed: e.ProposalReady | None = field(default=None, init=False)
    _finished: bool = field(default=False, init=False)

    def show(self, event: e.SessionEvent) -> None:
        """Show one event."""
        if isinstance(event, e.AgentText):
            self._stream(event)
            return
        self._end_stream()
        match event:
            case e.SessionStarted():
                self._line(f"Precision Shaking · {event.document} · {', '.join(event.teachers)}", "bold")
                self._line(event.request, "italic")
            case e.AgentStarted():
                self._streamed = False
                self._line(f"{event.agent} ({event.teacher})", "dim")
            case e.TeacherWaiting():
                self._line(f"{event.why} Asking again in {event.seconds:.0f} s.", "yellow")
            case e.PlanReady(steps):
                self._steps = steps
                self._line("\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1)))
            case e.StepStarted(step, text):
                self._proposed = None
                title = Text(visible(f"Step {step + 1} of {len(self._steps)}: {text}"), "bold")
                self.console.print()
                self.console.print(Rule(title, align="left", style="dim"))
            case e.InstructionReady():
                self._line(event.instruction, "cyan")
            case e.AnswerUnreadable():
                self._line(event.why, "yellow")
            case e.AttemptExecuted():
                self._run(event)
            case e.ProposalReady():
                self._proposal(event)
            case e.FeedbackRead():
                self._line(_reading(event), "bold")
            case e.RowWritten():
                kind = _REASONS.get(event.reason, event.reason) if event.reason else "accepted at once"
                self._line(f"row {event.rows}: {kind}", "dim")
            case e.StepAccepted(_, script):
                self._accepted(script)
            case e.TeacherSwitched():
                self._line(f"next teacher: {event.teacher}", "yellow")
            case e.HelpNeeded():
                self._line(f"No teacher could do this step: {event.text}", "yellow")
            case e.SessionFinished():
                rows = rows_in_words(event.rows, event.soft_labels)
                self._line(f"{'done' if event.status == SessionStatus.DONE else 'stopped'}: {rows}", "bold")
                self._line(_usage(event), "dim")
                self._finished = True
            case e.StepRestored():
                self._line("accepted before", "green")
            case e.Scoring():
                self._scored(event)
            case e.ScoringFailed():
                self._line(event.message, "yellow")
            case e.AgentFinished() | e.SessionFailed():
                pass  # a failure goes to standard error, said once

    def _proposal(self, event: e.ProposalReady) -> None:
        if event.unclear:
            self._line("Your words do not say whether to accept, redo or edit further.", "yellow")
            return
        self._proposed = event
        if not self._streamed:
            self._line(event.reasoning, "italic")
        self._diff(event.base, event.script)
        for warning in event.warnings:
            self._line(warning, "bold red")

    def _scored(self, event: e.Scoring) -> None:
        if not self._finished:
            return  # before, it is nobody's business: the user has a proposal to read
        if event.waiting:
            texts = "1 text" if event.waiting == 1 else f"{event.waiting} texts"
            self._line(f"{event.teacher} scores {texts}; Ctrl+C leaves that for later", "dim")
        else:
            self._line(rows_in_words(event.rows, event.soft_labels), "bold")

    def _accepted(self, script: str) -> None:
        proposed = self._proposed
        if proposed is not None and script != proposed.script:
            self._line("as you changed it:")
            self._diff(proposed.base, script)
        self._line("step accepted", "bold green")

    def _diff(self, before: str, after: str) -> None:
        # Unwrapped: a line of a script stays one line, to be read and copied.
        self.console.print()
        self.console.print(unified_diff(before, after, several=self.several), soft_wrap=True)
        self.console.print()

    def _run(self, event: e.AttemptExecuted) -> None:
        words, style = _OUTCOMES.get(event.outcome, (event.outcome.replace("_", " "), "yellow"))
        detail = f" {event.detail}" if event.detail else ""
        self._line(f"{words} in {event.seconds:.1f} s ({event.backend}).{detail}", style)
        if event.output.strip():
            self._line("It printed:", "dim")
            output = Text(visible(event.output.rstrip()), "dim")
            self.console.print(Padding(output, (0, 0, 0, 2), expand=False))

    def _stream(self, event: e.AgentText) -> None:
        if event.agent != "worker":
            return
        self._streamed = True
        if event.field != self._streaming:
            self._end_stream()
            self._streaming = event.field
        self.console.print(Text(visible(event.text), "bright_black"), end="", soft_wrap=True)

    def _end_stream(self) -> None:
        if self._streaming:
            self.console.print()
        self._streaming = ""

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(visible(text), style))


def _reading(event: e.FeedbackRead) -> str:
    words = event.verdict.replace("_", " ")
    if event.decided_by != DecidedBy.ANALYZER:
        return f"you: {words}"
    return f"read as: {words}"


def _usage(event: e.SessionFinished) -> str:
    # Here, because it brings what only the dataset needs.
    from dorpo.store import Usage

    sums = Usage(
        calls=event.calls,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        seconds=event.seconds,
        cost_usd=event.cost_usd,
        unpriced_calls=event.unpriced_calls,
    )
    return sums.words
