"""Bad input on the command line: one sentence, status 2, and nothing that was there is touched."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from scripted_teacher import ScriptedTeacher

from dorpo.store import AttemptRecord, Store

OLD = 'print("hi")\n'
RUN = ("precision_shaking", "run", "greet.py", "say hello")
TRAIN = ("dorpo", "train", "--output", "out")


@pytest.fixture
def folder(tmp_path):
    """A desk with a script, a dataset of one row, and things that are neither."""
    (tmp_path / "greet.py").write_text(OLD)
    (tmp_path / "text.db").write_text("This is a letter and no dataset.\n" * 50)
    (tmp_path / "latin.jsonl").write_bytes("é".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    with Store.open(tmp_path / "good.db") as store:
        store.start_session(
            **{"uid": "s", "document": "greet.py", "language": "python", "request": "x", "script": OLD},
            **{"instance": "i", "app_version": "0"},
        )
        store.add_steps("s", ["x"])
        store.fix_prompt("s", 0, instruction="x", script=OLD)
        attempt = AttemptRecord(
            **{"uid": "a", "cycle": 1, "cause": "first", "instruction": "x", "base_script": OLD},
            **{"response": "r", "reasoning": "", "script": OLD, "teacher": "t", "author": "worker"},
            **{"finish_reason": "stop", "input_tokens": 1, "output_tokens": 1, "seconds": 0.1},
            soft_labels=None,
        )
        store.add_attempt("s", 0, attempt)
        store.accept("s", 0, "a")
    return tmp_path


def complaint(folder, *command, without=None):
    """What the command says on standard error, once everything else about it was found right."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".py", ".jsonl"}}
    letter = (folder / "text.db").read_bytes()
    environment = {**os.environ, "PRECISION_SHAKING_HOME": str(folder / "home"), "OPENAI_API_KEY": ""}
    if without:
        missing = folder / "missing" / without
        missing.mkdir(parents=True)
        (missing / "__init__.py").write_text(f"raise ModuleNotFoundError(name={without!r})\n")
        environment["PYTHONPATH"] = str(missing.parent)
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert not [word for word in ("Traceback", "Errno", "Error:", "Error(") if word in done.stderr]
    assert all((folder / name).read_bytes() == content for name, content in before.items())
    assert (folder / "text.db").read_bytes() == letter
    with Store.open(folder / "good.db", create=False) as store:
        assert [row.uid != "" for row in store.rows()] == [True]
    return done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((*RUN[:3], "  "), "Say what should change"),
        ((*RUN, "--db", "folder"), "is a folder: name a file"),
        ((*RUN, "--db", "text.db"), "is not a dataset: move it away"),
        ((*RUN, "--db", "greet.py/in/it.db"), "choose a writable place"),
        ((*RUN, "--answers", "none.jsonl"), "none.jsonl cannot be read: No such file or directory."),
        ((*RUN, "--answers", "latin.jsonl"), "save them as UTF-8"),
        ((*RUN, "--db", "new.db", "--replay", "none.jsonl"), "none.jsonl cannot be read"),
        ((*RUN, "--record", "folder"), "exists already: choose another file"),
        (("precision_shaking", "resume", "nobody", "--db", "good.db"), "has no session nobody"),
        (("precision_shaking", "abandon", "nobody", "--db", "text.db"), "is not a dataset"),
        (("precision_shaking", "sessions", "--db", "text.db"), "is not a dataset"),
        (("precision_shaking", "execute", "none.py"), "none.py cannot be read: No such file or directory."),
        (("precision_shaking", "execute", "folder"), "folder cannot be read: Is a directory."),
        (("precision_shaking", "evaluate-analyzer", "--data", "none.jsonl"), "No such file or directory."),
        (("dorpo", "stats", "--db", "folder"), "is a folder: name a file"),
        (("dorpo", "stats", "--db", "text.db"), "is not a dataset"),
        (("dorpo", "export", "--db", "good.db", "--format", "trl", "--output", "folder"), "choose another"),
        ((*TRAIN, "--db", "none.db"), "There is no dataset at none.db"),
        ((*TRAIN, "--db", "text.db"), "is not a dataset"),
        ((*TRAIN, "--db", "good.db", "--student", "none.gguf"), "There is no student none.gguf"),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)
def test_it_is_said_in_a_sentence_and_nothing_is_touched(folder, command, words):
    assert words in complaint(folder, *command)


@pytest.mark.parametrize(
    ("without", "command", "words"),
    [
        ("llama_cpp", RUN, "pip install 'precision-shaking[embedded]'"),
        ("torch", (*TRAIN, "--db", "good.db"), "pip install 'precision-shaking[train]'"),
    ],
)
def test_what_has_to_be_installed_is_named(folder, without, command, words):
    assert words in complaint(folder, *command, without=without)


@pytest.mark.parametrize("reply", [{"raw": "<html>Welcome to the router</html>"}, {"raw": "{}"}, {"raw": ""}])
def test_a_server_that_is_no_model_is_said(folder, reply):
    with ScriptedTeacher({"planner": [reply]}) as teacher:
        said = complaint(folder, *RUN, "--db", "good.db", "--teacher", teacher.teacher())
    assert "openai/scripted" in said
    assert "html" not in said
