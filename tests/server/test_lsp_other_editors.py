"""An editor without a client of ours: code actions, server commands, messages and a file to write into."""

import asyncio
from pathlib import Path

import attrs
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.uris import to_fs_path
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from tests.server.lsp_editor import CAPABILITIES, PATIENCE, editor, rows

BASE = "print('hello')\n"
FIRST = "print('hello')\nprint('bye')\n"
SECOND = "print('hello')\nprint('BYE')\n"


def _teacher(*scripts, **queues):
    works = [work(script) for script in scripts]
    return ScriptedTeacher(
        {"planner": [plan("a step")], "lead": [instruct("Do it.")], "worker": works, **queues}
    )


def _commands(actions):
    return {action["command"]["command"].rpartition(".")[2]: action["command"] for action in actions}


async def _save(ed, words):
    """Write words above the line of the page that the server opened, and save it."""
    uri = await _next_file(ed)
    _page(uri).write_text(words + _text(uri), "utf-8")
    ed.save(uri)


def _page(uri):
    return Path(to_fs_path(uri))


def _text(uri):
    return _page(uri).read_text("utf-8")


async def _next_file(ed):
    return await asyncio.wait_for(ed.shown_files.get(), PATIENCE)


async def test_code_actions_follow_the_session(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            (start,) = await ed.actions(uri)
            assert start["title"] == "Precision Shaking: change this script…"
            assert start["kind"] == "refactor.rewrite"
            assert (start["command"]["command"], start["command"]["arguments"]) == (
                "precisionShaking.start",
                [uri],
            )

            session = await ed.start(uri)
            await ed.next_proposal()
            actions = await ed.actions(uri)
            assert [action["title"] for action in actions] == [
                "Accept the proposed edit",
                "Redo…",
                "Further edit…",
                "Give feedback…",
                "Stop the session",
            ]
            assert [action["command"]["command"] for action in actions] == [
                f"precisionShaking.{name}" for name in ("accept", "redo", "furtherEdit", "feedback", "stop")
            ]
            assert all(action["command"]["arguments"] == [session] for action in actions)


async def test_code_actions_of_other_kinds_are_not_ours(home, uri):
    async with editor(home) as ed:
        ed.open(uri, BASE)
        assert await ed.actions(uri, [types.CodeActionKind.QuickFix]) == []
        assert len(await ed.actions(uri, [types.CodeActionKind.Refactor])) == 1
        assert len(await ed.actions(uri, ["refactor.rewrite"])) == 1
        assert await ed.actions(uri, ["refactor.rewrite.other"]) == []


async def test_every_command_is_advertised(home):
    async with editor(home) as ed:
        names = ("start", "accept", "redo", "furtherEdit", "feedback", "showProposal", "stop")
        names += ("resume", "abandon", "train")
        advertised = ed.server_capabilities.execute_command_provider.commands
        assert sorted(advertised) == sorted(f"precisionShaking.server.{name}" for name in names)


async def test_a_session_from_a_saved_request_to_an_accept(home, uri):
    with _teacher(FIRST, SECOND) as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            start = _commands(await ed.actions(uri))["start"]
            await ed.run(start["command"], *start["arguments"])
            await _save(ed, "say goodbye")
            session = (await ed.next_proposal())["session"]
            commands = _commands(await ed.actions(uri))
            await ed.run(commands["redo"]["command"], session, "louder")
            assert (await ed.next_proposal())["cycle"] == 2
            await ed.run(commands["accept"]["command"], session)
            finished = await ed.next_event_of_the_end()
            assert ed.documents[uri].text == SECOND == finished["script"]
            assert ed.key_requests == []
    assert [row["reason"] for row in rows(home)] == ["redo"]


async def test_a_saved_feedback_file_is_an_answer(home, uri):
    with _teacher(FIRST, SECOND, analyzer=[verdict("further_edit")]) as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            await ed.run("precisionShaking.server.start", uri, "say goodbye")
            await ed.next_proposal()
            ed.buttons.put_nowait(None)  # it was read as it was meant
            await _save(ed, "could it be louder?")
            assert (await ed.next_event("feedback_read"))["decided_by"] == "analyzer"
            await ed.next_proposal()
            await _save(ed, "Accept.")
            await ed.next_event_of_the_end()
            assert ed.documents[uri].text == SECOND
    assert [row["reason"] for row in rows(home)] == ["further_edit"]


async def test_the_feedback_file_shows_the_proposal_and_has_the_actions(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            await ed.run("precisionShaking.server.start", uri, "say goodbye")
            page = await _next_file(ed)
            text = _text(page)
            assert "+print('bye')" in text
            assert "I follow the instruction." in text
            assert "hello\nbye" in text
            ed.open(page, text, "markdown")
            assert set(_commands(await ed.actions(page))) == {
                "accept",
                "redo",
                "furtherEdit",
                "feedback",
                "stop",
            }
        assert not _page(page).exists()


async def test_two_sessions_have_pages_of_their_own(home, uri, tmp_path):
    other = (tmp_path / "other.py").as_uri()
    with _teacher(FIRST) as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()]) as ed:
            pages = {}
            for document in (uri, other):
                ed.open(document, BASE)
                await ed.run("precisionShaking.server.start", document, "say goodbye")
                pages[document] = await _next_file(ed)
            _page(pages[uri]).write_text("accept" + _text(pages[uri]), "utf-8")
            ed.save(pages[uri])
            await ed.next_event_of_the_end()
            assert (ed.documents[uri].text, ed.documents[other].text) == (FIRST, BASE)


async def test_pages_go_away_with_an_editor_that_hangs_up(home, uri):
    async with editor(home, clientCommands=False) as ed:
        ed.open(uri, BASE)
        await ed.run("precisionShaking.server.start", uri)
        page = _page(await _next_file(ed))
        server = ed.client._server
        server.stdin.close()
        assert await ed.patiently(server.wait()) == 1
    assert not page.exists()


async def test_a_progress_that_the_editor_refuses_keeps_nobody_from_working(home, uri):
    def refuse(_):
        raise JsonRpcException("not now")

    with _teacher(FIRST) as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()]) as ed:
            ed.client.protocol.fm.features[types.WINDOW_WORK_DONE_PROGRESS_CREATE] = refuse
            ed.open(uri, BASE)
            await ed.run("precisionShaking.server.start", uri, "say goodbye")
            await _save(ed, "accept")
            await ed.next_event_of_the_end()
            assert ed.documents[uri].text == FIRST


async def test_help_is_asked_for_with_buttons(home, uri):
    with _teacher("raise SystemExit(1)\n") as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()], maxAttempts=1) as ed:
            ed.open(uri, BASE)
            await ed.run("precisionShaking.server.start", uri, "fail")
            ed.buttons.put_nowait("Skip this step")
            assert (await ed.next_event_of_the_end())["status"] == "done"
            question = ed.questions.get_nowait()
            assert [action.title for action in question.actions] == [
                "Try again",
                "Skip this step",
                "Stop",
                "Edit by hand",
            ]


async def test_a_step_that_nobody_could_do_is_done_in_a_file(home, uri):
    with _teacher("raise SystemExit(1)\n") as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()], maxAttempts=1) as ed:
            ed.open(uri, BASE)
            await ed.run("precisionShaking.server.start", uri, "fail")
            ed.buttons.put_nowait(None)
            await ed.next_event("help_needed")
            commands = _commands(await ed.actions(uri))
            assert set(commands) == {"showProposal", "stop"}
            ed.buttons.put_nowait("Edit by hand")
            await ed.run(commands["showProposal"]["command"], *commands["showProposal"]["arguments"])
            page = await _next_file(ed)
            assert (_page(page).name, _text(page)) == ("BY_HAND.py", BASE)

            _page(page).write_text("print('mine')\n", "utf-8")
            ed.type(uri, [(None, "print('theirs')\n")])
            ed.save(page)
            assert await _next_file(ed) == page
            assert _text(page) == "print('mine')\n"
            ed.save(page)
            await ed.next_event_of_the_end()
            assert ed.documents[uri].text == "print('mine')\n"
    (row,) = rows(home)
    assert (row["author"], "print('mine')" in row["chosen"]) == ("user", True)


async def test_working_agents_are_a_progress_that_stops_the_session(home, uri):
    waiting = {"content": work(FIRST), "delay": 600}
    with _teacher(FIRST, worker=[waiting]) as teacher:
        async with editor(home, clientCommands=False, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            await ed.run("precisionShaking.server.start", uri, "wait")
            begun = await ed.patiently(ed.progress.get())
            assert (begun.value["kind"], begun.value["cancellable"]) == ("begin", True)
            while "worker" not in (await ed.next_report())["message"]:
                pass
            ed.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(begun.token))
            assert (await ed.next_event_of_the_end())["status"] == "abandoned"
            while (await ed.next_report())["kind"] != "end":
                pass


async def test_an_editor_that_cannot_apply_edits_is_told_so(home, uri):
    workspace = attrs.evolve(CAPABILITIES.workspace, apply_edit=False)
    capabilities = attrs.evolve(CAPABILITIES, workspace=workspace)
    with _teacher(FIRST) as teacher:
        async with editor(home, capabilities=capabilities, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            result = await ed.accept_next(await ed.start(uri))
            assert "does not let a language server edit" in result["message"]


async def test_a_command_that_cannot_be_done_says_why(home, uri):
    async with editor(home, clientCommands=False) as ed:
        await ed.run("precisionShaking.server.start", uri, "x")
        assert "not open" in await ed.next_message()
        await ed.run("precisionShaking.server.stop", "none")
        assert "has ended" in await ed.next_message()
