"""`precision-shaking run` at a terminal: what it asks, and what becomes of what is typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

import dorpo.cli
from precision_shaking import cli
from precision_shaking.console import rows_in_words

pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")

OLD = 'print("hi")\n'
NEW = 'print("hello")'
LONG = f'print("{"hello " * 30}")'
ASKED = "say what you think: "
ONE_STEP = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}
PATIENCE = 90


class Terminal:
    """A person at a terminal of 80 columns."""

    def __init__(self, leader, process):
        self._leader = leader
        self._process = process
        self.shown = ""

    def read(self, ending):
        """Read until the program waits after these words; what was shown since the last time."""
        before = len(self.shown)
        while not self.shown[before:].endswith(ending):
            try:
                data = os.read(self._leader, 65536)
            except OSError:  # Linux's way to say that the other side is closed
                data = b""
            assert data, f"it ended before it said {ending!r}: {self.shown[before:]}"
            self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", data.decode())
        return self.shown[before:]

    def type(self, words):
        os.write(self._leader, f"{words}\n".encode())

    def end(self):
        """Read to the end; the exit status."""
        try:
            while data := os.read(self._leader, 65536):
                self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", data.decode())
        except OSError:
            pass
        return self._process.wait(PATIENCE)


@contextmanager
def at_a_terminal(script, teacher, *options):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "precision_shaking", "run", str(script), "say hello"]
    command += ["--teacher", teacher.teacher(), "--db", str(script.parent / "d.db"), *options]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=environment
    ) as process:
        os.close(follower)
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            yield Terminal(leader, process)
        finally:
            watchdog.cancel()
            process.kill()
            os.close(leader)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "greet.py"
    path.write_text(OLD)
    return path


def test_an_empty_line_is_no_answer_and_words_are_read(script):
    scripted = {**ONE_STEP, "worker": [work(LONG), work(NEW)], "analyzer": [verdict("redo")]}
    with ScriptedTeacher(scripted) as teacher, at_a_terminal(script, teacher) as terminal:
        first = terminal.read(ASKED)
        assert f"+{LONG}\n" in first, "a line of the script is not broken"
        assert first.count("I follow the instruction.") == 1, "what was read as it came is not repeated"
        assert "It printed:\n" in first
        terminal.type("")
        terminal.read(ASKED)
        terminal.type("shorter please")
        assert "read as: redo" in terminal.read(ASKED)
        terminal.type("A")
        assert terminal.end() == 0
    assert script.read_text() == NEW + "\n"
    assert "done: 1 row, with soft labels" in terminal.shown


def test_a_further_edit_needs_words_and_a_call_for_help_tells_the_choices(script):
    scripted = {**ONE_STEP, "worker": [work(NEW), "?"]}
    with ScriptedTeacher(scripted) as teacher, at_a_terminal(script, teacher) as terminal:
        terminal.read(ASKED)
        terminal.type("f")
        terminal.read("change about it next? ")
        terminal.type("")
        terminal.read("change about it next? ")
        terminal.type("greet the moon")
        asked = terminal.read("[r/k/s] ")
        for words in (
            "ask the first teacher once more",
            "nothing of this one stays",
            "what was accepted stays",
        ):
            assert words in asked
        terminal.type("what?")
        terminal.read("[r/k/s] ")
        terminal.type("k")
        assert terminal.end() == 0
    assert script.read_text() == OLD


@pytest.mark.embedded
def test_what_is_scored_after_the_end_is_told(script):
    scripted = {**ONE_STEP, "worker": [{"content": work(NEW), "logprobs": "refuse"}]}
    with (
        ScriptedTeacher(scripted) as teacher,
        at_a_terminal(script, teacher, "--scorer", "embedded/smollm2") as terminal,
    ):
        terminal.read(ASKED)
        terminal.type("a")
        assert terminal.end() == 0
    shown = terminal.shown.partition("done: 1 row, without soft labels\n")[2]
    assert "embedded/smollm2 scores 1 text; Ctrl+C leaves that for later\n" in shown
    assert shown.endswith("\n1 row, with soft labels\n")


@pytest.mark.parametrize(
    ("rows", "soft", "words"),
    [
        (0, 0, "no rows"),
        (1, 0, "1 row, without soft labels"),
        (1, 1, "1 row, with soft labels"),
        (2, 0, "2 rows, without soft labels"),
        (2, 1, "2 rows, 1 with soft labels"),
        (2, 2, "2 rows, both with soft labels"),
        (1200, 1200, "1,200 rows, all with soft labels"),
    ],
)
def test_rows_are_told_without_a_contradiction(rows, soft, words):
    assert rows_in_words(rows, soft) == words


@pytest.mark.parametrize(("program", "command"), [(cli, "resume"), (dorpo.cli, "evaluate")])
def test_without_a_command_the_commands_are_told(program, command, capsys):
    assert program.main([]) == 2
    assert command in capsys.readouterr().err
