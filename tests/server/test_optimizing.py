"""Optimising prompts: a real child process, a real dataset, a teacher whose answers depend on its prompt."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from dorpo.rendering import render_response
from dorpo.store import AttemptRecord, Store
from precision_shaking.cli import main
from precision_shaking.sape.optimizing.data import examples, split

NEW = 'print("hello")\n'
SHOUTED = 'print("HELLO")\n'
# What a teacher's prompt has in it once it has been shown examples of answers.
SHOWN = {
    "analyzer": "[[ ## verdict ## ]]\nredo",
    "worker": "[[ ## script ## ]]\nprint",
    "lead": "[[ ## instruction ## ]]\nPrint hello",
    "planner": "[[ ## steps ## ]]\n1. say hello",
}
SAY_ACCEPTED, SAY_REDO = verdict("accepted"), verdict("redo")


def harvest(path, sessions, *, decided_by="user", instance="script"):
    """Sessions of one step each: rejected once in words, then accepted."""
    with Store.open(path) as store:
        for n in range(sessions):
            uid, base = f"{instance}-{n}", f'print("hi {n}")\n'
            store.start_session(
                uid=uid,
                document="greet.py",
                language="python",
                request=f"greet better, {n}",
                script=base,
                instance=instance,
                app_version="0",
            )
            store.add_steps(uid, [f"say hello {n}"])
            instruction = f"Print hello, and not hi {n}."
            store.fix_prompt(uid, 0, instruction=instruction, script=base)
            for cycle, script in enumerate((SHOUTED, NEW), 1):
                attempt = f"{uid}-{cycle}"
                record = AttemptRecord(
                    uid=attempt,
                    cycle=cycle,
                    cause="first" if cycle == 1 else "redo",
                    instruction=instruction,
                    base_script=base,
                    response=render_response("I print it.", script),
                    reasoning="I print it.",
                    script=script,
                    teacher="openai/scripted",
                )
                store.add_attempt(uid, 0, record)
            store.add_feedback(
                f"{uid}-1", words=f"do not shout at {n}", verdict="redo", decided_by=decided_by
            )
            store.reject(f"{uid}-1", "redo")
            store.accept(uid, 0, f"{uid}-2")
            store.end_session(uid, "done")
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    folder = tmp_path / "home"
    monkeypatch.setenv("PRECISION_SHAKING_HOME", str(folder))
    return folder


@pytest.fixture
def optimize(home, capsys):  # noqa: ARG001 - where programs go
    """Run the command in this process, which starts its own child; status, report and errors."""

    def command(*words, database=None):
        where = ["--db", str(database)] if database else []
        status = main(["optimize", *words, *where, "--json"])
        output = capsys.readouterr()
        return status, json.loads(output.out) if output.out else None, output.err

    return command


def programs(home):
    return sorted(str(path.relative_to(home)) for path in home.glob("programs/**/*.json"))


def improving(agent, worse, better):
    """A teacher that does better once it has been shown examples."""
    return ScriptedTeacher({agent: [worse, {"if_contains": SHOWN[agent], "content": better}]})


def asked_in(message):
    """A question, without the fields that its answer is to have."""
    return message["content"].partition("\n\nAnswer with ")[0]


def only(report):
    (agent,) = report["agents"]
    return agent


def test_a_better_program_is_kept_with_its_figures(optimize, home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with improving("analyzer", SAY_ACCEPTED, SAY_REDO) as teacher:
        status, report, err = optimize(
            "--agent", "analyzer", "--teacher", teacher.teacher(), database=database
        )
        asked = [body["messages"] for body in teacher.asked("analyzer")]
    found = only(report)
    assert (status, err) == (0, "")
    assert (found["before"], found["after"], found["kept"]) == (0.0, 1.0, "new")
    assert (found["better"], found["worse"]) == (found["held_out"], 0)
    assert (found["train"], found["held_out"], found["interval"]) == (4, 6, [1.0, 1.0])
    assert found["why"].startswith("installed the new prompt: 6 of 6 held-out examples better, 0 worse")
    assert found["metric"] == "agreement with the user's verdict"
    # What is measured with is never shown.
    shown = {asked_in(message) for messages in asked for message in messages[1:-1]}
    questions = {asked_in(messages[-1]) for messages in asked}
    assert shown
    assert not shown & questions
    assert {body.get("logprobs") for body in teacher.asked("analyzer")} == {None}
    path = Path(found["program"])
    assert programs(home) == [str(path.relative_to(home))]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    program = json.loads(path.read_text())
    assert program["state"]["predict"]["lm"] is None
    assert "logprobs" not in path.read_text()


def test_a_worse_program_is_discarded(optimize, home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with improving("analyzer", SAY_REDO, SAY_ACCEPTED) as teacher:
        status, report, _ = optimize("--agent", "analyzer", "--teacher", teacher.teacher(), database=database)
    found = only(report)
    assert (status, found["before"], found["after"], found["kept"]) == (0, 1.0, 0.0, "old")
    assert programs(home) == []


def test_one_that_is_better_by_chance_is_discarded(optimize, home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with Store.open(database) as store:
        held_out = split(examples(store.harvested_steps("script"))["analyzer"]).held_out
    # It learns to read two of the six, and was right about the others before.
    known = [{"if_contains": one.inputs["feedback"], "content": SAY_REDO} for one in held_out[2:]]
    replies = [*known, SAY_ACCEPTED, {"if_contains": SHOWN["analyzer"], "content": SAY_REDO}]
    with ScriptedTeacher({"analyzer": replies}) as teacher:
        status, report, _ = optimize("--agent", "analyzer", "--teacher", teacher.teacher(), database=database)
    found = only(report)
    assert status == 0
    assert (round(found["before"], 3), found["after"], found["kept"]) == (0.667, 1.0, "old")
    counts = "2 of 6 held-out examples better, 0 worse"
    assert found["why"] == f"kept the old prompt: {counts}; that can be chance."
    assert programs(home) == []


def test_other_instances_sessions_are_not_learned_from(optimize, tmp_path):
    database = harvest(tmp_path / "d.db", 8)
    harvest(database, 10, instance="prose")
    with improving("analyzer", SAY_ACCEPTED, SAY_REDO) as teacher:
        words = ["--agent", "analyzer", "--teacher", teacher.teacher()]
        status, _, err = optimize(*words, database=database)
        assert (status, "has 8 of the 9 feedbacks" in err, teacher.requests) == (2, True, [])
        status, _, err = optimize(*words, "--instance", "prose", database=database)
        assert (status, "set `optimized = true`" in err) == (2, True)
        status, _, err = optimize(*words, "--instance", "nothing", database=database)
        assert (status, "There is no instance 'nothing'" in err) == (2, True)


def test_an_instance_of_ones_own_gets_programs_of_its_own(optimize, home, tmp_path, monkeypatch):
    declared = tmp_path / ".precision-shaking" / "mine.toml"
    declared.parent.mkdir()
    declared.write_text('name = "mine"\ntitle = "mine"\nextends = "script"\noptimized = true\n')
    monkeypatch.chdir(tmp_path)
    database = harvest(tmp_path / "d.db", 10, instance="mine")
    with improving("worker", work(SHOUTED), work(NEW)) as teacher:
        words = ["--instance", "mine", "--agent", "worker", "--teacher", teacher.teacher()]
        status, report, _ = optimize(*words, database=database)
        assert (status, report["instance"], only(report)["kept"]) == (0, "mine", "new")
        [program] = programs(home)
        assert program.startswith("programs/mine-worker/")
        assert optimize("--undo", "--teacher", teacher.teacher())[0] == 2
        assert optimize(*words, "--undo")[0] == 0
    assert programs(home) == []


def test_one_that_is_only_as_good_is_discarded_too(optimize, home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with ScriptedTeacher({"analyzer": [SAY_REDO]}) as teacher:
        _, report, _ = optimize("--agent", "analyzer", "--teacher", teacher.teacher(), database=database)
    assert only(report)["kept"] == "old"
    assert programs(home) == []


@pytest.mark.parametrize(
    ("agent", "worse", "better"),
    [
        ("worker", work("print(1 / 0)"), work(NEW)),
        ("worker", "no answer in the asked form", work(NEW)),
        ("worker", work(SHOUTED), work(NEW)),
        ("lead", instruct("Do something."), instruct("Print hello, and not hi.")),
        ("planner", plan("think"), plan("say hello")),
    ],
)
def test_every_agent_is_measured_by_its_own_metric(optimize, tmp_path, agent, worse, better):
    database = harvest(tmp_path / "d.db", 10)
    with improving(agent, worse, better) as teacher:
        status, report, err = optimize("--agent", agent, "--teacher", teacher.teacher(), database=database)
    assert (status, err) == (0, "")
    found = only(report)
    assert found["kept"] == "new"
    assert found["before"] < found["after"]
    if agent == "worker":
        assert (found["before"], found["after"]) == (0.0, 1.0)


def test_undo_goes_back_a_program_at_a_time(optimize, home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with improving("analyzer", SAY_ACCEPTED, SAY_REDO) as teacher:
        words = ["--agent", "analyzer", "--teacher", teacher.teacher()]
        _, report, _ = optimize(*words, database=database)
        current = Path(only(report)["program"])
        first = current.read_text()
        # As if another had been made since.
        current.with_name("previous.json").write_text(first)
        current.write_text(first.replace("few-shot", "gepa"))
        status, report, _ = optimize(*words, "--undo")
        assert (status, only(report)) == (0, {"agent": "analyzer", "kept": "previous"})
        assert current.read_text() == first
        status, report, _ = optimize(*words, "--undo")
        assert (status, only(report)) == (0, {"agent": "analyzer", "kept": "none"})
        assert programs(home) == []
        status, _, err = optimize(*words, "--undo")
    assert (status, err.count("\n")) == (2, 1)
    assert "no program for openai/scripted" in err


def test_the_program_in_use_is_what_a_new_one_has_to_beat(optimize, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with improving("analyzer", SAY_ACCEPTED, SAY_REDO) as teacher:
        words = ["--agent", "analyzer", "--teacher", teacher.teacher()]
        optimize(*words, database=database)
        _, report, _ = optimize(*words, database=database)
    found = only(report)
    assert (found["before"], found["after"], found["kept"]) == (1.0, 1.0, "old")


def run_session(tmp_path, teacher, answers):
    script, given = tmp_path / "greet.py", tmp_path / "answers.jsonl"
    script.write_text('print("hi")\n')
    given.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    command = [sys.executable, "-m", "precision_shaking", "run", str(script), "say hello", "--json"]
    command += ["--teacher", teacher.teacher(), "--db", str(tmp_path / "session.db"), "--answers", str(given)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_sessions_use_the_program(optimize, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with improving("worker", work("print(1 / 0)"), work(NEW)) as teacher:
        optimize("--agent", "worker", "--teacher", teacher.teacher(), database=database)
    replies = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}
    worker = [work(SHOUTED), {"if_contains": SHOWN["worker"], "content": work(NEW)}]
    with ScriptedTeacher({**replies, "worker": worker}) as teacher:
        result = run_session(tmp_path, teacher, [{"verdict": "accepted"}])
        [body] = teacher.asked("worker")
        [lead] = teacher.asked("lead")
    assert result.returncode == 0
    assert (tmp_path / "greet.py").read_text() == NEW
    assert [message["role"] for message in body["messages"]][:3] == ["system", "user", "assistant"]
    assert len(lead["messages"]) == 2
    with Store.open(tmp_path / "session.db") as store:
        [row] = store.rows()
    # The student learns to do it without examples.
    assert "hi 0" not in row.prompt


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "{",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"reasoning"', '"thoughts"'),
    ],
)
def test_a_program_that_cannot_be_used_is_ignored(optimize, tmp_path, damage):
    database = harvest(tmp_path / "d.db", 10)
    with improving("worker", work("print(1 / 0)"), work(NEW)) as teacher:
        _, report, _ = optimize("--agent", "worker", "--teacher", teacher.teacher(), database=database)
    path = Path(only(report)["program"])
    path.write_text(damage(path.read_text()))
    replies = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")], "worker": [work(NEW)]}
    with ScriptedTeacher(replies) as teacher:
        result = run_session(tmp_path, teacher, [{"verdict": "accepted"}])
        [body] = teacher.asked("worker")
    assert result.returncode == 0
    assert len(body["messages"]) == 2


def test_too_little_is_said_with_the_counts(optimize, tmp_path):
    database = harvest(tmp_path / "d.db", 2)
    with ScriptedTeacher({}) as teacher:
        status, report, err = optimize("--teacher", teacher.teacher(), database=database)
        assert teacher.requests == []
    assert (status, report, err.count("\n")) == (2, None, 1)
    assert "the worker has 2 of the 9 accepted scripts it needs" in err
    assert "the planner has 2 of the 9 accepted plans it needs" in err


def test_what_a_model_read_is_no_measure_for_it(optimize, tmp_path):
    database = harvest(tmp_path / "d.db", 8, decided_by="analyzer")
    with ScriptedTeacher({}) as teacher:
        status, _, err = optimize("--agent", "analyzer", "--teacher", teacher.teacher(), database=database)
    assert status == 2
    assert "the analyzer has 0 of the 9 feedbacks in words with your own verdict it needs" in err


def test_a_teacher_that_refuses_is_a_sentence(optimize, home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with ScriptedTeacher({"analyzer": [{"status": 401, "content": "no"}]}) as teacher:
        status, _, err = optimize("--agent", "analyzer", "--teacher", teacher.teacher(), database=database)
    assert (status, err.count("\n")) == (2, 1)
    assert "refuses the API key" in err
    assert programs(home) == []


def test_gepa_needs_a_teacher_that_can_write(optimize):
    status, _, err = optimize("--method", "gepa")
    assert (status, err.count("\n")) == (2, 1)
    assert "embedded/smollm2 is too small" in err


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
def test_ctrl_c_ends_the_child_and_changes_nothing(home, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    with ScriptedTeacher({"analyzer": [{"content": SAY_REDO, "delay": 60}]}) as teacher:
        command = [sys.executable, "-m", "precision_shaking", "optimize", "--agent", "analyzer"]
        command += ["--teacher", teacher.teacher(), "--db", str(database)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            teacher.was_asked("analyzer")
            [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "precision-shaking: stopped; the agents' programs are as they were.\n"
    assert not Path(f"/proc/{child}").exists()
    assert programs(home) == []


def test_gepa_rewrites_instructions_from_what_the_user_said(optimize, tmp_path):
    database = harvest(tmp_path / "d.db", 10)
    better = "Whoever forbids something wants a redo."
    replies = {
        "analyzer": [SAY_ACCEPTED, {"if_contains": better, "content": SAY_REDO}],
        "unknown": [json.dumps({"new_instruction": better})],
    }
    with ScriptedTeacher(replies) as teacher:
        status, report, err = optimize(
            "--agent", "analyzer", "--teacher", teacher.teacher(), "--method", "gepa", database=database
        )
        reflections = [body["messages"][-1]["content"] for body in teacher.asked("unknown")]
    assert (status, err) == (0, "")
    found = only(report)
    assert (found["before"], found["after"], found["kept"]) == (0.0, 1.0, "new")
    assert any("do not shout at" in text and "meant redo" in text for text in reflections)
    program = json.loads(Path(found["program"]).read_text())
    assert program["method"] == "gepa"
    assert program["state"]["predict"]["signature"]["instructions"] == better


@pytest.mark.usefixtures("home")
def test_people_get_a_table_and_a_line_for_each_agent(tmp_path, capsys):
    database = harvest(tmp_path / "d.db", 10)
    with improving("analyzer", SAY_ACCEPTED, SAY_REDO) as teacher:
        words = ["--agent", "analyzer", "--teacher", teacher.teacher(), "--db", str(database)]
        assert main(["optimize", *words]) == 0
    out = capsys.readouterr().out
    assert "0.000" in out
    assert "1.000" in out
    told = " ".join(out.split())
    assert "analyzer 4 6 0.000 1.000 +1.00 … +1.00 installed" in told.replace("│ ", "").replace(" │", "")
    assert "analyzer (by agreement with the user's verdict): installed the new prompt: 6 of 6" in told
