"""Every shipped instance, and users' own, from the request to the last row; the model alone is faked."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from dorpo.rendering import SYSTEM_PROMPT
from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape.instances.catalogue import find
from precision_shaking.sape.instances.filesets import parse, render
from precision_shaking.sape.resuming import recall
from precision_shaking.sape.session import Session, SessionError
from precision_shaking.sape.teachers import TeacherError, connect, parse_teacher
from precision_shaking.sape.wire import AnswerParams, StartParams
from tests.server.audience import Audience

ACCEPT = {"verdict": "accepted"}
ASKED = {"planner": [plan("do it")], "lead": [instruct("Do it.")]}
GREET = "def greet(name):\n    return f'hello {name}'\n"


@pytest.fixture
def store(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("data") / "dataset.db") as opened:
        yield opened


async def play(store, audience, workspace, name, script, *servers, document="greet.py", **more):
    texts = [server.teacher(f"openai/t{n}") for n, server in enumerate(servers)]
    pool = [connect(parse_teacher(text)) for text in texts]
    instance = find(name, workspace)
    params = StartParams(
        str(workspace / document),
        script,
        "do it",
        tuple(t.access for t in pool),
        instance=name,
        workspace=str(workspace),
        **more,
    )
    audience.session = Session(params, pool, store, audience.hear, instance)
    await asyncio.wait_for(audience.session.run(), 60)
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT DISTINCT instance FROM session").fetchall() == [(name,)]
    return audience


def runs(told):
    return [(event.outcome, event.backend) for event in told.of(e.AttemptExecuted)]


def declare(workspace, text):
    (workspace / ".precision-shaking").mkdir()
    (workspace / ".precision-shaking/mine.toml").write_text(text)


async def test_script(store, tmp_path):
    with ScriptedTeacher({**ASKED, "worker": [work("print(1 / 0)"), work("print(1)")]}) as teacher:
        told = await play(store, Audience(ACCEPT), tmp_path, "script", "print(0)\n", teacher)
        [system, _] = teacher.asked("worker")[0]["messages"]
    assert [outcome for outcome, _ in runs(told)] == ["script_error", "ok"]
    assert told.ending() == ("done", "print(1)\n", 1, 1)
    assert system["content"] == SYSTEM_PROMPT


@pytest.mark.sandbox
async def test_tests_are_written_beside_the_file_and_run_by_pytest_on_a_copy(store, tmp_path):
    (tmp_path / "greet.py").write_text(GREET)
    (tmp_path / "conftest.py").write_text("import greet\n")
    script = render({"greet.py": GREET, "test_greet.py": ""})
    test = "from greet import greet\n\n\ndef test_it():\n    assert greet('x') == '{} x'"
    worker = [
        work(f"=== greet.py ===\n{GREET}# better\n"),
        work(f"=== ../test_greet.py ===\n{test.format('hello')}"),
        work(f"=== test_greet.py ===\n{test.format('bye')}"),
        work(f"=== test_greet.py ===\n{test.format('hello')}"),
    ]
    retry = [{"choice": "retry"}, ACCEPT]
    with ScriptedTeacher({**ASKED, "worker": worker}) as teacher:
        told = await play(store, Audience(*retry), tmp_path, "tests", script, teacher)
        leads = [body["messages"][-1]["content"] for body in teacher.asked("lead")]
        system = teacher.asked("worker")[0]["messages"][0]["content"]
    whys = [event.why for event in told.of(e.AnswerUnreadable)]
    assert "changes greet.py, which may only be read" in whys[0]
    assert "no path inside the workspace" in whys[1]
    assert runs(told) == [("script_error", "bubblewrap"), ("ok", "bubblewrap")]
    assert "The tests do not pass: 1 failed" in told.of(e.AttemptExecuted)[0].detail
    assert "assert 'hello x' == 'bye x'" in leads[1]
    accepted = told.of(e.StepAccepted)[0].script
    assert parse(accepted) == {"greet.py": GREET, "test_greet.py": test.format("hello") + "\n"}
    [row] = store.rows()
    assert (row.reason, row.rejected, row.chosen) == ("error", worker[2], worker[3])
    assert "=== greet.py ===" in row.prompt
    assert system.startswith(SYSTEM_PROMPT)
    assert "Write pytest tests" in system
    # Only what the user's client writes is in the workspace.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conftest.py", "greet.py"]
    assert not (tmp_path.parent / "test_greet.py").exists()


async def test_prose_is_not_run_but_what_the_edit_breaks_is_found(store, tmp_path):
    (tmp_path / "there.md").write_text("x")
    before = "# Old\n\nSee [this](gone.md).\n"
    worker = [
        work(before + "And [that](missing.md), [here](#nowhere), [out](../x.md) and `[code](no.md)`."),
        work(before + "And [that](there.md), [here](#old) and [the net](https://example.org/x)."),
    ]
    with ScriptedTeacher({**ASKED, "worker": worker}) as teacher:
        told = await play(store, Audience(ACCEPT), tmp_path, "prose", before, teacher, document="a.md")
        leads = [body["messages"][-1]["content"] for body in teacher.asked("lead")]
    assert runs(told) == [("script_error", "checks"), ("ok", "checks")]
    for found in (
        "'missing.md' leads to a file",
        "'#nowhere' has no such heading",
        "leads out of the workspace",
    ):
        assert found in leads[1]
    # A fault that the text had before is not the edit's.
    assert "gone.md' leads" not in leads[1]
    assert "no.md' leads" not in leads[1]
    assert [row.reason for row in store.rows()] == ["error"]


@pytest.mark.sandbox
async def test_a_project_is_several_files_tried_by_a_command_of_the_users(store, tmp_path):
    declare(
        tmp_path,
        """
extends = "project"
name = "mine"
title = "change files, then run the program"
[executing]
by = "command"
command = ["python", "main.py"]
""",
    )
    files = {"main.py": "from lib import f\n\nprint(f())\n", "lib.py": "def f():\n    return 1\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    worker = [
        work("=== lib.py ===\ndef g():\n    return 2"),
        work("=== lib.py ===\ndef g():\n    return 2\n=== main.py ===\nfrom lib import g\n\nprint(g())"),
    ]
    with ScriptedTeacher({**ASKED, "worker": worker}) as teacher:
        told = await play(store, Audience(ACCEPT), tmp_path, "mine", render(files), teacher)
    assert runs(told) == [("script_error", "bubblewrap"), ("ok", "bubblewrap")]
    assert "`python main.py` ended with exit status 1" in told.of(e.AttemptExecuted)[0].detail
    assert told.of(e.ProposalReady)[0].output == "2\n"
    assert parse(told.events[-1].script)["main.py"] == "from lib import g\n\nprint(g())\n"


@pytest.mark.sandbox
async def test_a_command_writes_into_its_copy_and_nowhere_else(store, tmp_path):
    shell = "echo x > made.txt && cat made.txt; (echo y > /outside) 2>/dev/null || echo kept in; ls -a"
    declare(
        tmp_path,
        f"""
extends = "project"
name = "mine"
title = "write"
[executing]
by = "command"
command = ["sh", "-c", "{shell}"]
""",
    )
    (tmp_path / ".env").write_text("KEY=1\n")
    worker = [work("=== a.py ===\na = 2")]
    with ScriptedTeacher({**ASKED, "worker": worker}) as teacher:
        told = await play(
            store, Audience(ACCEPT), tmp_path, "mine", render({"a.py": "a = 1\n"}), teacher, document="a.py"
        )
    output = told.of(e.ProposalReady)[0].output
    assert output.split() == ["x", "kept", "in", ".", "..", "a.py", "made.txt"]
    assert not (tmp_path / "made.txt").exists()


async def test_a_command_is_not_run_where_it_is_turned_off(store, tmp_path):
    with ScriptedTeacher({**ASKED, "worker": [work("=== a.py ===\na = 2")]}) as teacher:
        told = await play(
            *(store, Audience(ACCEPT), tmp_path, "project", render({"a.py": "a = 1\n"}), teacher),
            document="a.py",
            execute=False,
        )
    assert runs(told) == [("sandbox_unavailable", "none")]
    assert told.events[-1].status == "done"


FIFTH = """
name = "mine"
title = "one step, nothing run, buttons only"
[executing]
by = "nothing"
[edges]
request = "lead"
worker = "user"
words = "user"
redo = "worker"
[agents.lead]
signature = "step, current_script -> instruction"
instructions = "Say it like a pirate."
teachers = ["{lead}"]
[agents.worker]
instructions = "Rhyme."
"""


async def test_a_users_fifth_has_its_own_agents_edges_and_pools(store, tmp_path):
    answers = [{"words": "hm"}, {"verdict": "redo", "words": "no"}, ACCEPT]
    with (
        ScriptedTeacher({"worker": [work("print(1 / 0)"), work("b = 1")]}) as first,
        ScriptedTeacher({"lead": [instruct("Arr.")]}) as second,
    ):
        declare(tmp_path, FIFTH.format(lead=second.teacher("openai/t1")))
        told = await play(store, Audience(*answers), tmp_path, "mine", "a = 1\n", first, second)
        [lead] = second.asked("lead")
        workers = first.asked("worker")
        assert {request["agent"] for request in first.requests} == {"worker"}
    assert "Say it like a pirate." in lead["messages"][0]["content"]
    assert "change_request" not in lead["messages"][1]["content"]
    assert told.of(e.PlanReady)[0].steps == ("do it",)
    assert runs(told) == []
    assert [event.unclear for event in told.of(e.ProposalReady)] == [False, True, False]
    assert workers[0]["messages"][0]["content"] == f"{SYSTEM_PROMPT}\n\nRhyme."
    # A redo went back to the worker with the instruction it had.
    assert "Arr." in workers[1]["messages"][1]["content"]
    assert [row.reason for row in store.rows()] == ["redo"]
    assert recall(store, told.session.uid).instance == find("mine", tmp_path)


async def test_a_declaration_brings_no_teachers_of_its_own(store, tmp_path):
    declare(tmp_path, FIFTH.format(lead="openai/x@http://evil.example/v1"))
    with ScriptedTeacher(ASKED) as teacher, pytest.raises(TeacherError, match="add it to your teachers"):
        await play(store, Audience(), tmp_path, "mine", "a = 1\n", teacher)


async def test_an_errors_edge_to_the_user_makes_no_row(store, tmp_path):
    declare(tmp_path, 'extends = "script"\nname = "mine"\ntitle = "x"\n[edges]\nerror = "user"\n')
    with ScriptedTeacher({**ASKED, "worker": [work("print(1 / 0)")]}) as teacher:
        told = await play(store, Audience(ACCEPT), tmp_path, "mine", "print(0)\n", teacher)
    assert told.of(e.ProposalReady)[0].outcome == "script_error"
    assert [row.rejected for row in store.rows()] == [None]


async def test_a_users_own_text_has_to_be_a_document_too(store, tmp_path):
    refused = []

    class Amending(Audience):
        def _react(self, event):
            with pytest.raises(SessionError) as error:
                self.session.answer(AnswerParams(event.attempt, "accepted", amended="=== ../a.py ===\nx\n"))
            refused.append(str(error.value))
            amended = "=== a.py ===\na = 3\n"
            self.session.answer(AnswerParams(event.attempt, "accepted", amended=amended))

    files = {"a.py": "a = 1\n", "b.py": "b = 1\n"}
    with ScriptedTeacher({**ASKED, "worker": [work("=== b.py ===\nb = 2")]}) as teacher:
        told = await play(store, Amending(), tmp_path, "project", render(files), teacher, execute=False)
    assert "Your text cannot be used" in refused[0]
    assert parse(told.events[-1].script) == {"a.py": "a = 3\n", "b.py": "b = 2\n"}
