"""Declarations of instances: what is shipped, what a user may write, and what is said of what is wrong."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

import precision_shaking
from precision_shaking.sape.instances.catalogue import SHIPPED, catalogue, default, find
from precision_shaking.sape.instances.executing import Checks, Command, Nothing, Pytest, Sandboxed
from precision_shaking.sape.instances.loading import DeclarationError, to_instance, to_tables
from precision_shaking.sape.routes import Place, Routes

MINE = """
extends = "script"
name = "mine"
title = "do as I like it"
"""


@pytest.fixture
def declare(tmp_path):
    """Writes a workspace's declaration and returns the sentence that is said of it, or the instance."""

    def write(text, name="mine.toml", wanted="mine"):
        folder = tmp_path / ".precision-shaking"
        folder.mkdir(exist_ok=True)
        content = text if isinstance(text, bytes) else text.encode()
        (folder / name).write_bytes(content)
        return find(wanted, tmp_path)

    return write


def test_four_are_shipped_and_script_is_the_first():
    entries = catalogue(None)
    assert [entry.instance.name for entry in entries] == ["script", "project", "prose", "tests"]
    assert {entry.source for entry in entries} == {SHIPPED}
    kinds = {entry.instance.name: type(entry.instance.executing) for entry in entries}
    assert kinds == {"script": Sandboxed, "project": Command, "prose": Checks, "tests": Pytest}


def test_a_declaration_survives_being_kept_with_its_session():
    for entry in catalogue(None):
        assert to_instance(to_tables(entry.instance), "kept") == entry.instance


def test_a_users_own_extends_a_shipped_one(declare):
    mine = declare(MINE + '[agents.planner]\ninstructions = "Plan it in one step."\nanswer = { items = 1 }\n')
    assert mine.agents["planner"].instructions == "Plan it in one step."
    assert mine.agents["planner"].signature == default().agents["planner"].signature
    assert mine.agents["lead"] == default().agents["lead"]
    assert (default().optimized, mine.optimized) == (True, False)


def test_a_users_own_may_be_whole(declare):
    mine = declare("""
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
instructions = "Say what to do."
[agents.worker]
""")
    edges = Routes(request=Place.LEAD, worker=Place.USER, words=Place.USER, redo=Place.WORKER)
    assert (mine.edges, mine.executing) == (edges, Nothing())
    assert mine.agents["lead"].inputs("lead") == ("step", "current_script")


WRONG = [
    ("name = ", "is no TOML"),
    (b"\xff\xfe", "is no UTF-8 text"),
    ("x" * 300_000, "is too large"),
    (MINE.replace('"script"', '"nothing"'), "extends must be one of script, project, prose, tests"),
    (MINE.replace('"script"', "['script']"), "extends must be one of script, project, prose, tests"),
    (MINE.replace('"mine"', '"two words"'), "name must be letters, digits, hyphens and underscores"),
    (MINE.replace('"mine"', '"tests"'), "name must be another one, 'tests' is declared already (shipped)"),
    (MINE.replace('"mine"', "3"), "name must be a text"),
    (MINE.replace("title", "heading"), "heading is no key that a declaration has"),
    ('name = "mine"\n[agents]\n', "title is missing"),
    (MINE + 'languages = "python"', "languages must be a list"),
    (MINE + "languages = [1]", "languages must be a list of texts"),
    (MINE + "languages = []", "languages must name at least one language"),
    (MINE + "optimized = 1", "optimized must be true or false"),
    (MINE + "agents = 3", "agents must be a table"),
    (MINE + "[agents]\nplanner = 3", "agents.planner must be a table"),
    (MINE + "[agents.boss]", "agents.boss is no place that an agent can have"),
    (MINE + "[agents.planner]\nmodel = 'x'", "agents.planner.model is no key"),
    (MINE + "[agents.planner]\nanswer = { items = 9 }", "agents.planner.answer.items must be 1 to 8"),
    (
        MINE + "[agents.planner]\nanswer = { items = '3' }",
        "agents.planner.answer.items must be a whole number",
    ),
    (MINE + "[agents.lead]\nanswer = { longest = 0 }", "agents.lead.answer.longest must be 1 to 1000"),
    (MINE + "[agents.lead]\ninstructions = ' '", "agents.lead.instructions must say what the agent is to do"),
    (MINE + "[agents.lead]\nteachers = 'x'", "agents.lead.teachers must be a list"),
    (
        MINE + "[agents.lead]\nsignature = 'step -> words'",
        "lead.signature must end with -> instruction",
    ),
    (MINE + "[agents.lead]\nsignature = 'mood -> instruction'", "agents.lead.signature may take each of"),
    (
        MINE + "[agents.lead]\nsignature = 'step, step -> instruction'",
        "agents.lead.signature may take each of",
    ),
    (
        MINE + "[agents.worker]\nsignature = 'instruction -> reasoning, script'",
        "agents.worker.signature must be instruction, current_script -> reasoning, script",
    ),
    (MINE + "[edges]\nworker = 'planner'", "edges.worker must lead to execute or user, not to planner"),
    (MINE + "[edges]\nworker = 'nowhere'", "edges.worker must be one of planner, lead, worker"),
    (MINE + "[edges]\nworker = 'user'", 'edges.worker must lead to execute where executing.by is "sandbox"'),
    (MINE + "[edges]\nboss = 'user'", "edges.boss is no key"),
    (MINE + "[edges]\nwords = 'user'", "agents.analyzer is there, but no edge leads to it"),
    (MINE + "[edges]\nrequest = 'lead'", "agents.planner is there, but no edge leads to it"),
    (MINE.replace('extends = "script"', "agents = {}"), "agents.planner is missing, and an edge leads to it"),
    (
        MINE + "[executing]\nby = 'bash'",
        "executing.by must be one of sandbox, pytest, command",
    ),
    (MINE + "[executing]\nseconds = 3", "executing.by must be one of"),
    (
        MINE + "[executing]\nby = 'pytest'\ncommand = ['x']",
        'command is no key where by is "pytest"',
    ),
    (MINE + "[executing]\nby = 'sandbox'\nseconds = 0", "executing.seconds must be a number above 0"),
    (MINE + "[executing]\nby = 'command'", "executing.command is missing"),
    (MINE + "[executing]\nby = 'command'\ncommand = []", "executing.command must be the words of a command"),
    (MINE + "[executing]\nby = 'command'\ncommand = 'make test'", "executing.command must be a list"),
    (MINE + "[executing]\nby = 'nothing'", 'edges.worker must lead to user where executing.by is "nothing"'),
    (MINE + "[document]\nkind = 'folder'", "document.kind must be one of file, files"),
    (MINE + "[document]\nkind = 'files'\ncode = true", 'document.code is no key where kind is "files"'),
]


@pytest.mark.parametrize(("text", "why"), WRONG, ids=[why[:60] for _, why in WRONG])
def test_what_is_wrong_is_said_in_one_sentence_with_its_file_and_key(declare, text, why):
    with pytest.raises(DeclarationError) as error:
        declare(text)
    said = str(error.value)
    assert "mine.toml" in said
    assert why in said
    assert said.endswith(".")
    assert "\n" not in said


def test_two_of_one_name_are_refused_and_one_that_is_not_there_is_named(declare):
    declare(MINE)
    with pytest.raises(DeclarationError, match="'mine' is declared already"):
        declare(MINE, "other.toml")
    with pytest.raises(DeclarationError, match="There is no instance 'yours': it is one of script"):
        find("yours", None)


def test_a_link_to_a_device_is_no_declaration(declare, tmp_path):
    declare(MINE)
    (tmp_path / ".precision-shaking" / "device.toml").symlink_to(os.devnull)
    assert find("mine", tmp_path).name == "mine"


def test_a_fault_in_a_workspaces_own_keeps_nobody_from_the_shipped_ones(declare):
    assert declare("name =", wanted="script") == default()


def test_the_engine_knows_no_instance_by_name():
    names = {entry.instance.name for entry in catalogue(None)}
    for file in Path(precision_shaking.__file__).parent.rglob("*.py"):
        source = file.read_text("utf-8")
        assert not re.search(r"\bif\b[^\n]*\binstance(\.name)?\s*(==|!=|in\b)", source), file
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Compare | ast.match_case):
                said = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                assert not ("instance" in ast.unparse(node) and said & names), (file, ast.unparse(node))
