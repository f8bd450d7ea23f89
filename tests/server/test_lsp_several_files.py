"""A change of several files in an editor: one proposal, one edit, and nothing counts that did not arrive."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs
import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.uris import to_fs_path
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from precision_shaking.sape.instances.filesets import parse, render
from tests.server.lsp_editor import CAPABILITIES, PATIENCE, editor, rows

MAIN = "from lib import f\n\nprint(f())\n\n\nx = 1\n"
LIB = "def f():\n    return 1\n"
NEW_MAIN = MAIN.replace(" f\n", " g\n").replace("f()", "g()")
NEW_LIB = LIB.replace("f()", "g()")
NOTES = "The function is called g.\n"
BOTH = work(render({"main.py": NEW_MAIN, "lib.py": NEW_LIB}).rstrip())
THREE = work(render({"main.py": NEW_MAIN, "lib.py": NEW_LIB, "docs/notes.txt": NOTES}).rstrip())


@pytest.fixture
def folder(tmp_path):
    """A workspace with two files that belong together."""
    (tmp_path / "work" / ".precision-shaking").mkdir(parents=True)
    for name, text in {"main.py": MAIN, "lib.py": LIB}.items():
        (tmp_path / "work" / name).write_text(text)
    return tmp_path / "work"


def _teacher(*works):
    asked = {"planner": [plan("rename it")], "lead": [instruct("Rename f to g.")]}
    return ScriptedTeacher({**asked, "worker": list(works)})


def _editor(folder, teacher, **options):
    options = {"instance": "project", "execute": False, **options}
    return editor(folder.parent / "home", teachers=[teacher.teacher()], **options)


def _open(ed, folder, **texts):
    """Open files, with unsaved changes where a text is given; their URIs."""
    uris = [(folder / f"{name}.py").as_uri() for name in texts]
    for name, uri in zip(texts, uris, strict=True):
        ed.open(uri, texts[name] or (folder / f"{name}.py").read_text())
    return uris


def _page(uri):
    return Path(to_fs_path(uri))


def _answer(session, proposal, **more):
    return {"session": session, "attempt": proposal["attempt"], "verdict": "accepted", **more}


async def test_one_edit_changes_all_files_and_makes_new_ones(folder):
    with _teacher(THREE) as teacher:
        async with _editor(folder, teacher) as ed:
            # What the user sees counts, saved or not.
            main, lib = _open(ed, folder, main=MAIN + "# unsaved\n", lib="")
            session = await ed.start(main)
            proposal = await ed.next_proposal()
            assert parse(proposal["base"]) == {"main.py": MAIN + "# unsaved\n", "lib.py": LIB}
            sides = {
                file["path"]: (file["uri"], file["base"], file["proposed"]) for file in proposal["files"]
            }
            notes = (folder / "docs/notes.txt").as_uri()
            assert sides == {
                "main.py": (main, MAIN + "# unsaved\n", NEW_MAIN),
                "lib.py": (lib, LIB, NEW_LIB),
                "docs/notes.txt": (notes, None, NOTES),
            }
            assert (await ed.ask("answer", _answer(session, proposal)))["applied"]
            (edit,) = ed.edits
            assert [type(step).__name__ for step in edit.edit.document_changes] == [
                *("TextDocumentEdit", "TextDocumentEdit", "CreateFile", "TextDocumentEdit")
            ]
            held = [ed.documents[uri].text for uri in (main, lib, notes)]
            assert held == [NEW_MAIN, NEW_LIB, NOTES]
            await ed.next_event_of_the_end()
    [row] = rows(folder.parent / "home")
    assert parse(row["chosen"].split("[[ ## script ## ]]\n")[1].split("\n\n[[")[0])["lib.py"] == NEW_LIB


async def test_an_edited_file_amends_and_what_was_typed_meanwhile_stays(folder):
    with _teacher(BOTH) as teacher:
        async with _editor(folder, teacher) as ed:
            main, lib = _open(ed, folder, main="", lib="")
            session = await ed.start(main)
            proposal = await ed.next_proposal()
            ed.type(main, [(None, MAIN + "# mine\n")])
            strange = [{"uri": (folder / "other.py").as_uri(), "text": "x\n"}]
            with pytest.raises(JsonRpcException, match="no file of this proposal"):
                await ed.ask("answer", _answer(session, proposal, files=strange))
            files = [{"uri": lib, "text": NEW_LIB.replace("1", "2")}]
            assert (await ed.ask("answer", _answer(session, proposal, files=files)))["applied"]
            assert ed.documents[main].text == NEW_MAIN + "# mine\n"
            assert ed.documents[lib].text == NEW_LIB.replace("1", "2")
            end = await ed.next_event_of_the_end()
            # The session goes on from what the files hold.
            assert parse(end["script"]) == {
                "main.py": NEW_MAIN + "# mine\n",
                "lib.py": NEW_LIB.replace("1", "2"),
            }
    [row] = rows(folder.parent / "home")
    assert (row["reason"], "return 2" in row["chosen"], "return 1" in row["rejected"]) == (
        "amended",
        True,
        True,
    )


async def test_a_file_changed_in_the_same_lines_is_shown_again(folder):
    with _teacher(BOTH) as teacher:
        async with _editor(folder, teacher) as ed:
            main, lib = _open(ed, folder, main="", lib="")
            session = await ed.start(main)
            proposal = await ed.next_proposal()
            ed.type(lib, [(None, LIB.replace("def f", "def h"))])
            answer = await ed.ask("answer", _answer(session, proposal))
            assert not answer["applied"]
            assert answer["message"].startswith("lib.py changed in the same lines meanwhile.")
            assert (ed.edits, ed.documents[main].text) == ([], MAIN)
            again = await ed.next_proposal()
            shown = {file["path"]: file for file in again["files"]}
            assert (shown["lib.py"]["base"], shown["lib.py"]["proposed"]) == (
                LIB.replace("def f", "def h"),
                NEW_LIB,
            )
            assert (await ed.ask("answer", _answer(session, again)))["applied"]
            assert [ed.documents[uri].text for uri in (main, lib)] == [NEW_MAIN, NEW_LIB]


async def test_files_that_are_not_open_count_once_they_lie_on_the_disk(folder):
    with _teacher(BOTH) as teacher:
        async with _editor(folder, teacher, behaviour="saving") as ed:
            [main] = _open(ed, folder, main="")
            session = await ed.start(main, files=[(folder / "lib.py").as_uri()])
            proposal = await ed.next_proposal()
            assert (await ed.ask("answer", _answer(session, proposal)))["applied"]
            assert (ed.documents[main].text, (folder / "lib.py").read_text()) == (NEW_MAIN, NEW_LIB)


async def test_an_edit_that_was_dropped_is_no_acceptance(folder):
    with _teacher(BOTH) as teacher:
        async with _editor(folder, teacher, behaviour="lying") as ed:
            main, _ = _open(ed, folder, main="", lib="")
            session = await ed.start(main)
            answer = await ed.ask("answer", _answer(session, await ed.next_proposal()))
            assert (
                answer["applied"],
                "did not apply the edit to main.py and lib.py" in answer["message"],
            ) == (False, True)
    assert rows(folder.parent / "home") == []


async def test_the_instance_tests_writes_beside_the_open_file(folder):
    test = "from lib import f\n\n\ndef test_f():\n    assert f() == 1\n"
    with _teacher(work(f"=== test_lib.py ===\n{test}")) as teacher:
        async with _editor(folder, teacher, instance="script") as ed:
            [lib] = _open(ed, folder, lib="")
            session = await ed.start(lib, instance="tests")
            proposal = await ed.next_proposal()
            assert [(file["path"], file["base"]) for file in proposal["files"]] == [("test_lib.py", None)]
            assert (await ed.ask("answer", _answer(session, proposal)))["applied"]
            assert ed.documents[(folder / "test_lib.py").as_uri()].text == test
            assert ed.documents[lib].text == LIB


async def test_the_instances_are_offered_the_taken_one_first(folder):
    mine = 'extends = "project"\nname = "mine"\ntitle = "checked"\n'
    (folder / ".precision-shaking/mine.toml").write_text(mine)
    async with editor(folder.parent / "home", instance="mine") as ed:
        main, lib = _open(ed, folder, main="", lib="")
        (folder / ".env").write_text("KEY=1\n")
        ed.open((folder / ".env").as_uri(), "KEY=1\n", "plaintext")
        offered = (await ed.ask("instances", {"uri": main}))["instances"]
        assert [one["name"] for one in offered] == ["mine", "script", "project", "tests"]
        assert offered[0] == {
            **{"name": "mine", "title": "checked", "files": [main, lib]},
            "source": str(folder / ".precision-shaking/mine.toml"),
        }
        # What belongs to a document is not chosen.
        assert [one["files"] for one in offered if one["name"] in ("script", "tests")] == [[], []]
        ed.open("untitled:Untitled-1", "x = 1\n")
        with pytest.raises(JsonRpcException, match="save the document first"):
            await ed.start("untitled:Untitled-1", instance="project")


async def test_every_file_of_a_session_is_taken_and_has_its_actions(folder):
    with _teacher(BOTH) as teacher:
        async with _editor(folder, teacher) as ed:
            main, lib = _open(ed, folder, main="", lib="")
            await ed.start(main)
            await ed.next_proposal()
            assert "Accept the proposed edit" in [action["title"] for action in await ed.actions(lib)]
            for more in ({}, {"instance": "script"}):
                with pytest.raises(JsonRpcException, match="running already"):
                    await ed.start(lib, **more)


async def test_another_editor_sees_the_files_on_the_page_and_accepts_there(folder):
    with _teacher(THREE) as teacher:
        async with _editor(folder, teacher, clientCommands=False) as ed:
            main, lib = _open(ed, folder, main="", lib="")
            await ed.run("precisionShaking.server.start", main, "rename f")
            uri = await asyncio.wait_for(ed.shown_files.get(), PATIENCE)
            text = _page(uri).read_text("utf-8")
            assert "Files: main.py, lib.py, docs/notes.txt" in text
            assert "+def g():" in text
            assert "--- /dev/null\n+++ docs/notes.txt as proposed\n" in text
            _page(uri).write_text("accept" + text, "utf-8")
            ed.save(uri)
            await ed.next_event_of_the_end()
            assert [ed.documents[uri].text for uri in (main, lib)] == [NEW_MAIN, NEW_LIB]


async def test_an_editor_that_cannot_create_files_is_told_which_ones_to(folder):
    workspace = attrs.evolve(
        CAPABILITIES.workspace,
        workspace_edit=types.WorkspaceEditClientCapabilities(document_changes=True),
    )
    with _teacher(THREE) as teacher:
        capabilities = attrs.evolve(CAPABILITIES, workspace=workspace)
        async with _editor(folder, teacher, capabilities=capabilities) as ed:
            main, _ = _open(ed, folder, main="", lib="")
            session = await ed.start(main)
            answer = await ed.ask("answer", _answer(session, await ed.next_proposal()))
            assert "create docs/notes.txt, then accept" in answer["message"]
            (folder / "docs").mkdir()
            (folder / "docs/notes.txt").touch()
            assert (await ed.accept_next(session))["applied"]
            assert ed.documents[(folder / "docs/notes.txt").as_uri()].text == NOTES


async def test_a_session_that_broke_off_goes_on_with_all_its_files(folder):
    with _teacher(BOTH) as teacher:
        async with _editor(folder, teacher) as ed:
            main, _ = _open(ed, folder, main="", lib="")
            session = await ed.start(main)
            await ed.next_proposal()
        async with _editor(folder, teacher) as ed:
            main, lib = _open(ed, folder, main="", lib="")
            await ed.ask("resumeSession", {"session": session})
            assert (await ed.accept_next(session))["applied"]
            assert [ed.documents[uri].text for uri in (main, lib)] == [NEW_MAIN, NEW_LIB]
