"""Several files as one text: what is written is read back, and what must not be written is not read."""

from __future__ import annotations

import pytest

from precision_shaking.document import DocumentError
from precision_shaking.documents import Documents, named_files
from precision_shaking.sape.execution import Backend, execute_in_copy
from precision_shaking.sape.instances.documents import DocumentFaultError, SeveralFiles
from precision_shaking.sape.instances.filesets import FileSetError, parse, render
from precision_shaking.sape.instances.workspace import WorkspaceError, copy_workspace, workspace_of
from precision_shaking.sape.sandbox.probe import probe
from precision_shaking.sape.vocabulary import Outcome

SET = {"a.py": "a = 1\n", "pkg/b.py": "b = 2\n\n\nprint(b)\n", "empty.py": ""}
BAD_PATHS = [
    "../x.py",
    "a/../../x.py",
    "/etc/passwd",
    "~/../x",
    "a//b.py",
    "./a.py",
    "a/./b.py",
    "",
    ".",
    "..",
    "...",
    "a\\..\\b.py",
    "C:/x.py",
    "a\x00b.py",
    "a\u202eyp.b",
    ".git/config",
    ".GIT/hooks/pre-commit",
    "sub/.git/config",
    ".vscode/tasks.json",
    ".precision-shaking/x.toml",
    ".git ",
    ".git./config",
    "a/ /b.py",
    "x" * 300,
]


def test_a_set_is_read_back_as_it_was_written():
    assert parse(render(SET)) == SET
    assert render(SET).startswith("=== a.py ===\na = 1\n=== pkg/b.py ===\n")


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_are_none_of_the_workspaces_are_unreadable(tmp_path, path):
    before = render({"a.py": "a = 1\n"})
    with pytest.raises(DocumentFaultError) as error:
        SeveralFiles().read(before, f"=== {path} ===\nowned = 1\n", tmp_path)
    assert "\n" not in str(error.value)
    assert "\x00" not in str(error.value)
    with pytest.raises(FileSetError):
        render({path: "owned = 1\n"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = 2\n", "text before the header"),
        ("\n", "no header"),
        ("Here it is:\n=== a.py ===\na = 2\n", "text before the header"),
        ("=== a.py ===\na = 2\n=== a.py ===\na = 3\n", "is there twice"),
    ],
)
def test_answers_that_are_no_set_are_unreadable(text, why):
    with pytest.raises(DocumentFaultError, match=why):
        SeveralFiles().read(render(SET), text, None)


def test_an_answer_only_has_to_hold_what_it_changes(tmp_path):
    read = SeveralFiles().read(render(SET), "=== new.py ===\nn = 0\n\n=== a.py ===\na = 2\n", tmp_path)
    assert parse(read) == {**SET, "a.py": "a = 2\n", "new.py": "n = 0\n"}


def test_files_that_are_only_read_are_not_changed(tmp_path):
    tests = SeveralFiles(writes=("test_*.py",))
    before = render({"a.py": "a = 1\n", "test_a.py": ""})
    same = "=== a.py ===\na = 1\n=== test_a.py ===\nassert True\n"
    assert parse(tests.read(before, same, tmp_path))["test_a.py"] == "assert True\n"
    with pytest.raises(DocumentFaultError, match=r"changes a\.py, which may only be read"):
        tests.read(before, "=== a.py ===\na = 2\n", tmp_path)


def test_links_and_files_that_were_not_named_are_not_written_over(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "other.py").write_text("mine = 1\n")
    before = render({"a.py": "a = 1\n"})
    with pytest.raises(DocumentFaultError, match="symbolic link"):
        SeveralFiles().read(before, "=== link/x.py ===\nx\n", root)
    with pytest.raises(DocumentFaultError, match=r"replaces other\.py"):
        SeveralFiles().read(before, "=== other.py ===\nx\n", root)
    (root / "a.py").write_text("a = 1\n")
    documents = Documents.read(root, ["a.py"])
    (root / "late.py").symlink_to(outside / "late.py")
    with pytest.raises(DocumentError, match="symbolic link"):
        documents.replace(render({"a.py": "a = 2\n", "late.py": "x\n"}))
    assert (root / "a.py").read_text() == "a = 1\n"
    assert list(outside.iterdir()) == []


def test_files_are_written_all_or_none(tmp_path):
    (tmp_path / "a.py").write_bytes(b"a = 1\r\nb = 1\r\n")
    (tmp_path / "c.py").write_text("c = 1\n")
    documents = Documents.read(tmp_path, ["a.py", "c.py"])
    (tmp_path / "c.py").write_text("c = 'mine'\n")
    wanted = render({"a.py": "a = 1\nb = 2\n", "c.py": "c = 2\n", "sub/new.py": "n = 1\n"})
    with pytest.raises(DocumentError, match="changed meanwhile: no file is written"):
        documents.replace(wanted)
    assert (tmp_path / "a.py").read_bytes() == b"a = 1\r\nb = 1\r\n"
    (tmp_path / "c.py").write_text("c = 1\n")
    documents.replace(wanted)
    assert (tmp_path / "a.py").read_bytes() == b"a = 1\r\nb = 2\r\n"
    assert (tmp_path / "sub/new.py").read_text() == "n = 1\n"
    assert documents.text == wanted


def test_a_write_that_fails_half_way_is_undone(tmp_path):
    (tmp_path / "a.py").write_text("a = 1\n")
    documents = Documents.read(tmp_path, ["a.py"])
    (tmp_path / "b.py").mkdir()
    with pytest.raises(DocumentError):
        documents.replace(render({"a.py": "a = 2\n", "b.py": "b = 2\n"}))
    assert (tmp_path / "a.py").read_text() == "a = 1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.py", "b.py"]


def test_folders_stand_for_their_text_files_and_files_bring_what_lies_beside_them(tmp_path):
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/a.py").write_text("")
    (tmp_path / "pkg/logo.png").write_bytes(b"\x89PNG\xff")
    (tmp_path / "pkg/.env").write_text("KEY=1\n")
    assert named_files(tmp_path, [tmp_path / "pkg"], ["test_{stem}.py"]) == ["pkg/a.py", "pkg/test_a.py"]
    with pytest.raises(DocumentError, match="no file"):
        named_files(tmp_path, [tmp_path / "none.py"], [])
    with pytest.raises(DocumentError, match="outside the workspace"):
        named_files(tmp_path / "pkg", [tmp_path / "pkg", tmp_path / "x.py"] if _touch(tmp_path) else [], [])


def _touch(folder):
    (folder / "x.py").write_text("")
    return True


def test_a_file_with_a_line_like_a_header_is_refused(tmp_path):
    (tmp_path / "a.md").write_text("=== title ===\n")
    with pytest.raises(DocumentError, match=r"a\.md has a line that looks like the header"):
        Documents.read(tmp_path, ["a.md"])


def test_a_copy_has_what_a_command_needs_and_nothing_that_is_nobodys_business(tmp_path):
    root = tmp_path / "root"
    for name in ("src/a.py", ".git/config", ".env", "node_modules/x.js", "venv/pyvenv.cfg", "venv/x.py"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (root / "secret").symlink_to(tmp_path)
    copy_workspace(root, {"src/a.py": "new\n", "src/b.py": "b\n"}, tmp_path / "copy")
    found = {path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*.*")}
    assert found == {"src/a.py", "src/b.py"}
    assert (tmp_path / "copy/src/a.py").read_text() == "new\n"
    (root / "big").write_bytes(b"")
    with (root / "big").open("r+b") as file:
        file.truncate(60 * 1024**2)
    with pytest.raises(WorkspaceError, match="too large"):
        copy_workspace(root, {}, tmp_path / "copy2")


@pytest.mark.parametrize(
    "backend", [pytest.param(Backend.BUBBLEWRAP, marks=pytest.mark.sandbox), Backend.PROCESS]
)
async def test_a_command_works_on_a_copy_under_every_backend(tmp_path, backend):
    copy_workspace(None, {"a.py": "print('ran')\nopen('new', 'w')\n"}, tmp_path / "copy")
    execution = await execute_in_copy(tmp_path / "copy", ["python", "-B", "a.py"], backend=backend)
    assert (execution.outcome, execution.output, execution.backend) == (Outcome.OK, "ran\n", backend)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["a.py"]


async def test_a_command_is_isolated_or_not_run(tmp_path, monkeypatch):
    # A machine without bubblewrap is one on which it is not found.
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    probe.cache_clear()
    try:
        copy_workspace(None, {"a.py": "print('ran')\n"}, tmp_path / "copy")
        refused = await execute_in_copy(tmp_path / "copy", ["python", "a.py"])
        agreed = await execute_in_copy(tmp_path / "copy", ["python", "a.py"], backend=None)
    finally:
        probe.cache_clear()
    assert (refused.outcome, refused.backend) == (Outcome.SANDBOX_UNAVAILABLE, "none")
    assert "install the package bubblewrap" in refused.detail
    assert (agreed.outcome, agreed.backend) == (Outcome.OK, "process")


def test_the_workspace_is_the_marked_folder_above_or_the_files_own(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    assert workspace_of([tmp_path / "a/b/x.py"]) == tmp_path / "a/b"
    assert workspace_of([tmp_path / "a/b/x.py", tmp_path / "a/y.py"]) == tmp_path / "a"
    (tmp_path / ".precision-shaking").mkdir()
    assert workspace_of([tmp_path / "a/b/x.py"]) == tmp_path
