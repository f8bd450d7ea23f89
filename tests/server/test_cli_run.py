"""`precision-shaking run` as users start it: a real process, a real engine below it, a scripted teacher."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from dorpo.store import Store

OLD = 'print("hi")\n'
NEW = 'print("hello")'
ONE_STEP = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}
ACCEPT = {"verdict": "accepted"}
COMMAND = [sys.executable, "-m", "precision_shaking", "run"]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "greet.py"
    path.write_text(OLD)
    return path


def run(script, *teachers, answers=(), options=(), environment=None):
    """The finished process; its dataset lies beside the script."""
    command = [*COMMAND, str(script), "say hello", "--db", str(script.parent / "d.db"), *options]
    for teacher in teachers:
        command += ["--teacher", teacher if isinstance(teacher, str) else teacher.teacher()]
    given = script.parent / "answers.jsonl"
    given.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    command += ["--answers", str(given)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
        check=False,
    )


def rows(script):
    with Store.open(script.parent / "d.db") as store:
        return list(store.rows())


def sentence(result):
    """What was said on standard error, which must be one sentence."""
    assert result.stderr.startswith("precision-shaking: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_a_session_shows_its_plan_its_instruction_the_run_and_the_diff(script):
    worker = [work("print(1 / 0)"), work(NEW)]
    with ScriptedTeacher({**ONE_STEP, "worker": worker}) as teacher:
        result = run(script, teacher, answers=[ACCEPT])
    assert (result.returncode, result.stderr) == (0, "")
    assert re.search(r"^5 calls, 500 tokens in, \d+ out, \d+ s$", result.stdout, re.MULTILINE)
    for words in (
        "1. say hello",
        "Print hello.",
        "ZeroDivisionError",
        '-print("hi")',
        '+print("hello")',
        "done",
    ):
        assert words in result.stdout
    assert script.read_text() == NEW + "\n"
    assert [row.reason for row in rows(script)] == ["error"]


def test_events_are_printed_as_json_lines(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        result = run(script, teacher, answers=[ACCEPT], options=["--json"])
    kinds = [json.loads(line)["kind"] for line in result.stdout.splitlines()]
    assert (kinds[0], kinds[-1]) == ("session_started", "session_finished")
    assert "proposal_ready" in kinds


def test_each_step_is_written_when_it_is_accepted(script):
    two = {"planner": [plan("a", "b")], "lead": [instruct("x")], "worker": [work("x = 1"), work("x = 2")]}
    with ScriptedTeacher(two) as teacher:
        result = run(script, teacher, answers=[ACCEPT, {"verdict": "stop"}])
    assert result.returncode == 1
    assert script.read_text() == "x = 1\n"


def test_a_redo_writes_nothing(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [work("x = 1"), work("x = 2")]}) as teacher:
        result = run(script, teacher, answers=[{"verdict": "redo", "text": "no"}, {"verdict": "stop"}])
    assert result.returncode == 1
    assert script.read_text() == OLD


def test_without_a_terminal_and_without_answers_it_stops_and_says_so(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        result = run(script, teacher)
    assert result.returncode == 2
    assert "Nobody is there to answer" in sentence(result)
    assert script.read_text() == OLD


def test_a_step_without_a_teacher_left_can_be_skipped(script):
    with ScriptedTeacher({**ONE_STEP, "worker": ["?"]}) as teacher:
        result = run(script, teacher, answers=[{"help": "skip"}])
    assert result.returncode == 0
    assert script.read_text() == OLD


def test_an_answer_for_help_waits_until_help_is_needed(script):
    with ScriptedTeacher({**ONE_STEP, "worker": ["?"]}) as teacher:
        result = run(script, teacher, answers=[ACCEPT, {"help": "retry", "script": NEW}])
    assert result.returncode == 0
    assert script.read_text().rstrip("\n") == NEW.rstrip("\n")


def test_what_the_user_amended_is_written(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        result = run(script, teacher, answers=[{**ACCEPT, "amended": 'print("ciao")\n'}])
    assert script.read_text() == 'print("ciao")\n'
    _, _, shown = result.stdout.partition("as you changed it:")
    assert '-print("hi")\n+print("ciao")' in shown


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a = 1\r\nb = 2\r\n", b"a = 1\r\nb = 3\r\n"),
        (b"a = 1\nb = 2", b"a = 1\nb = 3"),
        (b"\xef\xbb\xbfa = 1\nb = 2\n", b"\xef\xbb\xbfa = 1\nb = 3\n"),
        (b"a = 1\r\nb = 2\n", b"a = 1\r\nb = 3\n"),
        ("a = 1\nb = 'é\u2028'\n".encode(), b"a = 1\nb = 3\n"),
    ],
)
def test_line_ends_byte_order_mark_and_missing_end_stay(script, before, after):
    script.write_bytes(before)
    script.chmod(0o750)
    with ScriptedTeacher({**ONE_STEP, "worker": [work("a = 1\nb = 3")]}) as teacher:
        result = run(script, teacher, answers=[ACCEPT])
        [body] = teacher.asked("worker")
    assert result.returncode == 0
    assert script.read_bytes() == after
    assert stat.S_IMODE(script.stat().st_mode) == 0o750
    assert "\r" not in body["messages"][1]["content"]
    assert "\ufeff" not in body["messages"][1]["content"]


UNUSABLE = [
    (b"\xff\xfea\x00", "no UTF-8"),
    (b"", "empty"),
    (b" \r\n\n", "empty"),
    (b"x" * 1_000_001, "1,000,001 bytes"),
]


@pytest.mark.parametrize(("content", "why"), UNUSABLE)
def test_files_that_are_no_scripts_are_refused_before_anybody_is_asked(script, content, why):
    script.write_bytes(content)
    with ScriptedTeacher({}) as teacher:
        result = run(script, teacher)
        assert teacher.requests == []
    assert result.returncode == 2
    assert why in sentence(result)
    assert script.read_bytes() == content


def test_a_file_that_is_not_there_or_is_a_folder_is_named(script):
    for path, why in ((script.parent / "none.py", "no file"), (script.parent, "cannot be read")):
        result = subprocess.run(
            [*COMMAND, str(path), "x"], capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 2
        assert why in sentence(result)


@pytest.mark.parametrize(
    ("teacher", "why"),
    [
        ("nonsense", "write PROVIDER/MODEL"),
        ("embedded/nothing", "no embedded model"),
        ("openai/x@http://127.0.0.1:9/v1", "cannot be reached"),
        ("openai/x", "API key"),
        ("no_such_provider/x", "no_such_provider/x"),
    ],
)
def test_a_teacher_that_cannot_be_used_is_said_and_nothing_is_touched(script, teacher, why):
    result = run(script, teacher, answers=[ACCEPT], environment={"OPENAI_API_KEY": ""})
    assert result.returncode == 2
    assert why in sentence(result)
    assert script.read_text() == OLD


def test_a_teacher_that_writes_garbage_is_said(script):
    with ScriptedTeacher({"planner": ["lorem ipsum"]}) as teacher:
        result = run(script, teacher, answers=[ACCEPT])
    assert result.returncode == 2
    assert "planner can use" in sentence(result)
    assert rows(script) == []


@pytest.mark.parametrize("line", ["{", "[]", '{"verdict": "fine"}', "{}", '{"help": "me"}', '{"text": ""}'])
def test_answers_that_are_none_are_said_with_their_line(script, line):
    answers = script.parent / "bad.jsonl"
    answers.write_text(f'{{"verdict": "redo"}}\n{line}\n')
    result = subprocess.run(
        [*COMMAND, str(script), "x", "--answers", str(answers)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "Line 2" in sentence(result)


def test_a_file_that_changed_meanwhile_is_left_alone(script):
    script_of = {**ONE_STEP, "worker": [{"content": work(NEW), "delay": 0.5}]}
    with ScriptedTeacher(script_of) as teacher:
        answers = script.parent / "a.jsonl"
        answers.write_text(json.dumps(ACCEPT))
        command = [*COMMAND, str(script), "x", "--teacher", teacher.teacher(), "--answers", str(answers)]
        command += ["--db", str(script.parent / "d.db")]
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
            teacher.was_asked("worker")
            script.write_text("mine = 1\n")
            _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "changed meanwhile" in said
    assert script.read_text() == "mine = 1\n"


def test_control_characters_of_a_model_are_shown_and_not_obeyed(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [work('print("\x1b]0;owned\x07\u202e")')]}) as teacher:
        result = run(script, teacher, answers=[ACCEPT])
    assert "\x1b]0" not in result.stdout
    assert "<U+001B>" in result.stdout
    assert "<U+202E>" in result.stdout


def test_ctrl_c_stops_the_session_and_leaves_nothing_running(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [{"content": work(NEW), "delay": 600}]}) as teacher:
        command = [
            *COMMAND,
            str(script),
            "x",
            "--teacher",
            teacher.teacher(),
            "--db",
            str(script.parent / "d.db"),
        ]
        with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
            teacher.was_asked("worker")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in said
    assert script.read_text() == OLD


def test_a_key_for_the_users_own_server_comes_from_the_environment(script):
    with ScriptedTeacher({**ONE_STEP, "worker": [work(NEW)]}) as teacher:
        result = run(
            script, teacher, answers=[ACCEPT], environment={"PRECISION_SHAKING_API_KEY": "sk-canary1234"}
        )
        assert teacher.requests[0]["headers"]["Authorization"] == "Bearer sk-canary1234"
    assert "canary" not in result.stdout + result.stderr


def test_the_command_says_its_version_and_its_help():
    for option, words in (("--version", "0.1.0"), ("--help", "language models")):
        said = subprocess.run(
            [sys.executable, "-m", "precision_shaking", option],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert words in said.stdout
