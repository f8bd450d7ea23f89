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
from precision_shaking.sape.instances import filesets

_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}
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
        self.stream.write(json.dumps(e.to_json(event), ensure_ascii=False) + "\n")
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
    shown = [Text(visible(line), _DIFF_STYLES.get(line[:1], "")) for line in lines]
    return Text("\n").join(shown) if shown else Text("nothing changes", "yellow")


def _diff(before: str, after: str, old_name: str, new_name: str) -> Iterator[str]:
    old, new = before.removesuffix("\n").split("\n"), after.removesuffix("\n").split("\n")
    return difflib.unified_diff(old if before else [], new, old_name, new_name, lineterm="", n=3)


def _files_diff(before: str, after: str) -> Iterator[str]:
    """One diff of all files that change."""
    known = filesets.parse(before)
    for path, text in filesets.parse(after).items():
        old = known.get(path, "")
        yield from _diff(old, text, f"a/{path}" if old else "/dev/null", f"b/{path}")


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
                self._line(f"{event.agent} ({event.teacher})", "dim")
            case e.TeacherWaiting():
                self._line(f"{event.why} Asking again in {event.seconds:.0f} s.", "yellow")
            case e.PlanReady(steps):
                self._steps = steps
                self._line("\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1)))
            case e.StepStarted(step, text):
                title = Text(visible(f"Step {step + 1} of {len(self._steps)}: {text}"), "bold")
                self.console.print(Rule(title, align="left"))
            case e.InstructionReady():
                self._line(event.instruction, "cyan")
            case e.AnswerUnreadable():
                self._line(event.why, "yellow")
            case e.AttemptExecuted():
                self._run(event)
            case e.ProposalReady():
                self._proposal(event)
            case e.FeedbackRead():
                self._line(f"{event.verdict} (decided by {event.decided_by})", "bold")
            case e.RowWritten():
                kind = f"rejected because of {event.reason}" if event.reason else "accepted at once"
                labels = "with soft labels" if event.soft_labels else "hard labels only"
                self._line(f"row {event.rows}: {kind}, {labels}", "dim")
            case e.StepAccepted():
                self._line("step accepted", "bold green")
            case e.TeacherSwitched():
                self._line(f"next teacher: {event.teacher}", "yellow")
            case e.HelpNeeded():
                self._line(f"No teacher could do this step: {event.text}", "yellow")
            case e.SessionFinished():
                counts = f"{event.rows} rows written, {event.soft_labels} chosen with soft labels"
                self._line(f"{event.status}: {counts}", "bold")
                self._line(_usage(event), "dim")
            case e.StepRestored():
                self._line("accepted before", "green")
            case e.AgentFinished() | e.SessionFailed():
                pass  # a failure goes to standard error, said once

    def _proposal(self, event: e.ProposalReady) -> None:
        if event.unclear:
            self._line("That did not say whether to accept, redo or edit further.", "yellow")
            return
        self._line(event.reasoning, "italic")
        self.console.print(Padding(unified_diff(event.base, event.script, several=self.several), (1, 2)))
        for warning in event.warnings:
            self._line(warning, "bold red")

    def _run(self, event: e.AttemptExecuted) -> None:
        words, style = _OUTCOMES.get(event.outcome, (event.outcome.replace("_", " "), "yellow"))
        detail = f" {event.detail}" if event.detail else ""
        self._line(f"{words} in {event.seconds:.1f} s ({event.backend}).{detail}", style)
        if event.output.strip():
            self.console.print(Padding(Text(visible(event.output.rstrip()), "dim"), (0, 2)))

    def _stream(self, event: e.AgentText) -> None:
        if event.agent != "worker":
            return
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
