"""Instances in an editor: one that fits is taken, one that does not is refused in a sentence."""

from __future__ import annotations

import pytest
from pygls.exceptions import JsonRpcException
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from tests.server.lsp_editor import editor, rows

TEXT = "# Old\n\nWords.\n"
ASKED = {"planner": [plan("link it")], "lead": [instruct("Link the heading.")]}
MINE = """
extends = "script"
name = "mine"
title = "nothing is run"
[executing]
by = "nothing"
[edges]
worker = "user"
"""


async def _accept(ed, session):
    proposal = await ed.next_proposal()
    answer = {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
    assert (await ed.ask("answer", answer))["applied"]
    await ed.next_event_of_the_end()
    return proposal


async def test_a_text_is_prose_without_being_asked(tmp_path):
    uri, worker = (tmp_path / "a.md").as_uri(), [work(TEXT + "[x](#gone)"), work(TEXT + "[x](#old)")]
    with ScriptedTeacher({**ASKED, "worker": worker}) as teacher:
        async with editor(tmp_path / "home", teachers=[teacher.teacher()]) as ed:
            ed.open(uri, TEXT, "markdown")
            proposal = await _accept(ed, await ed.start(uri))
            assert (proposal["outcome"], proposal["cycle"]) == ("ok", 2)
            assert ed.documents[uri].text == TEXT + "[x](#old)\n"
    assert [row["reason"] for row in rows(tmp_path / "home")] == ["error"]


async def test_the_setting_or_the_request_names_a_workspaces_own(tmp_path):
    (tmp_path / ".precision-shaking").mkdir()
    (tmp_path / ".precision-shaking/mine.toml").write_text(MINE)
    uri = (tmp_path / "a.py").as_uri()
    with ScriptedTeacher({**ASKED, "worker": [work("print(1 / 0)")]}) as teacher:
        async with editor(tmp_path / "home", teachers=[teacher.teacher()], instance="mine") as ed:
            ed.open(uri, "print(0)\n")
            proposal = await _accept(ed, await ed.start(uri))
            assert (proposal["outcome"], proposal["cycle"]) == ("", 1)
            for name, why in (
                ("prose", "prose is for markdown"),
                ("yours", "There is no instance 'yours'"),
            ):
                with pytest.raises(JsonRpcException, match=why):
                    await ed.ask("startSession", {"uri": uri, "request": "x", "instance": name})
