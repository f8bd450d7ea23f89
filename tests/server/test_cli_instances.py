"""Instances on the command line: real processes, a real engine, a scripted teacher."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from dorpo.store import Store

ASKED = {"planner": [plan("do it")], "lead": [instruct("Do it.")]}
ACCEPT = {"verdict": "accepted"}
MINE = 'extends = "script"\nname = "mine"\ntitle = "my own"\nlanguages = ["python"]\n'


def command(folder, *words, **more):
    return subprocess.run(
        [sys.executable, "-m", "precision_shaking", *words],
        capture_output=True,
        text=True,
        timeout=90,
        stdin=subprocess.DEVNULL,
        cwd=folder,
        check=False,
        **more,
    )


def run(folder, instance, *words, teacher, answers=(ACCEPT,), home=None):
    data = home or folder / ".data"
    data.mkdir(exist_ok=True)
    (data / "answers.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    options = ["--teacher", teacher.teacher(), "--db", str(data / "d.db")]
    options += ["--answers", str(data / "answers.jsonl")]
    return command(folder, "run", "--instance", instance, *words, *options)


def test_instances_are_listed_with_where_they_are_from(tmp_path):
    (tmp_path / ".precision-shaking").mkdir()
    (tmp_path / ".precision-shaking/mine.toml").write_text(MINE)
    listed = command(tmp_path, "instances")
    assert listed.returncode == 0
    assert "mine         my own (.precision-shaking/mine.toml)\n" in listed.stdout
    assert "script       change a script (shipped)\n" in listed.stdout
    told = json.loads(command(tmp_path, "instances", "--json").stdout)["instances"]
    assert [one["name"] for one in told] == ["script", "project", "prose", "tests", "mine"]
    (tmp_path / ".precision-shaking/mine.toml").write_text(MINE + "speed = 3\n")
    wrong = command(tmp_path, "instances")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "mine.toml: speed is no key that a declaration has." in wrong.stderr


@pytest.mark.sandbox
def test_a_project_is_shown_as_one_diff_and_written_when_it_is_accepted(tmp_path):
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "b.py").write_text("b = 1\n")
    answer = work("=== a.py ===\na = 2\n=== pkg/c.py ===\nc = 3")
    with ScriptedTeacher({**ASKED, "worker": [answer]}) as teacher:
        result = run(tmp_path, "project", "a.py", "b.py", "change it", teacher=teacher)
    assert (result.returncode, result.stderr) == (0, "")
    for line in ("--- a/a.py", "+++ b/a.py", "-a = 1", "+a = 2", "--- /dev/null", "+++ b/pkg/c.py", "+c = 3"):
        assert line in result.stdout
    assert "b/b.py" not in result.stdout
    assert "(bubblewrap)" in result.stdout
    written = {path.name: path.read_text() for path in tmp_path.rglob("*.py")}
    assert written == {"a.py": "a = 2\n", "b.py": "b = 1\n", "c.py": "c = 3\n"}
    with Store.open(tmp_path / ".data/d.db") as store:
        assert [row.chosen for row in store.rows()] == [answer]


def test_an_answer_that_leads_out_of_the_workspace_is_never_written(tmp_path):
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "a.py").write_text("a = 1\n")
    answer = work("=== ../../owned.py ===\nowned = 1\n=== a.py ===\na = 2")
    with ScriptedTeacher({**ASKED, "worker": [answer]}) as teacher:
        stop = [{"help": "stop"}]
        result = run(folder, "project", "a.py", "change it", teacher=teacher, answers=stop)
    assert result.returncode == 1
    assert "is no path inside the workspace" in " ".join(result.stdout.split())
    assert (folder / "a.py").read_text() == "a = 1\n"
    assert list(tmp_path.parent.rglob("owned.py")) == []


def test_a_session_on_several_files_that_broke_off_goes_on(tmp_path):
    (tmp_path / "a.md").write_text("a\n")
    (tmp_path / ".precision-shaking").mkdir()
    declared = 'extends = "project"\nname = "mine"\ntitle = "x"\n[executing]\nby = "checks"\n'
    (tmp_path / ".precision-shaking/mine.toml").write_text(declared)
    with ScriptedTeacher({**ASKED, "worker": [work("=== a.md ===\nb")]}) as teacher:
        broken = run(tmp_path, "mine", "a.md", "change it", teacher=teacher, answers=[])
        assert broken.returncode == 2
        # It goes on as it was declared then.
        (tmp_path / ".precision-shaking/mine.toml").unlink()
        uid = broken.stderr.split("resume ")[1].split()[0]
        (tmp_path / ".data/answers.jsonl").write_text(json.dumps(ACCEPT))
        options = ["--db", str(tmp_path / ".data/d.db"), "--answers", str(tmp_path / ".data/answers.jsonl")]
        resumed = command(tmp_path, "resume", uid, *options)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert (tmp_path / "a.md").read_text() == "b\n"


def test_what_does_not_go_together_is_said_before_anybody_is_asked(tmp_path):
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "b.py").write_text("b = 1\n")
    (tmp_path / "a.md").write_text("a\n")
    for words, why in (
        (["prose", "a.py"], "prose is for markdown, plaintext"),
        (["script", "a.md"], "script is for python, javascript"),
        (["script", "a.py", "b.py"], "script changes one file"),
        (["nothing", "a.py"], "no instance 'nothing'"),
        (["project", "none.py"], "no file none.py"),
    ):
        with ScriptedTeacher({}) as teacher:
            result = run(tmp_path, *words, "x", teacher=teacher)
            assert teacher.requests == []
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert why in result.stderr
