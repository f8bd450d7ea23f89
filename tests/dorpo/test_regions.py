"""Regions of long documents: found with exact lines, and the standard library put together again."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dorpo.regions import find_regions, lines_of, parsed
from dorpo.splicing import Change, SpliceError, difference, splice

SCRIPT = '''\
#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""What it is."""

import sys
from functools import cache

LIMIT = 3


# Reads a file,
# line by line.
@cache
def read(path):
    def inner():
        pass

    return open(path)
    # and leaves it open


async def fetch(): return 1
TABLE = {
    "a": 1,
}

# A heading.

class Store(
    object,
):
    """Keeps."""

    kind = "x"

    # opens
    @classmethod
    async def open(cls): ...
    def close(self):
        return """
# region text
def not_a_function(): pass
# endregion
"""

    @property
    def size(self): return 1

    @size.setter
    def size(self, value): pass

    class Inner:
        def deep(self): pass

if sys.argv:
    def either(): pass
else:
    def either(): pass

def twice(): pass
def twice(): pass


# region of its own
def main():
    read("x")
# endregion


if __name__ == "__main__":
    main()
'''


def texts(script):
    lines = lines_of(script)
    return {region.name: "".join(lines[region.start : region.end]) for region in find_regions(script)}


def changed(script, *changes):
    return splice(script, [Change(*change) for change in changes])


def test_every_region_has_its_exact_lines():
    found = texts(SCRIPT)
    assert list(found) == [
        "module head",
        "read",
        "fetch",
        "code after fetch",
        "Store",
        "head of Store",
        "Store.open",
        "Store.close",
        "code after Store",
        "of its own",
        "main",
        "code after main",
    ]
    assert found["module head"].startswith('"""What')
    assert found["module head"].endswith("LIMIT = 3\n")
    assert found["read"].startswith("# Reads a file,\n# line")
    assert found["read"].endswith("    # and leaves it open\n")
    assert found["code after fetch"] == 'TABLE = {\n    "a": 1,\n}\n\n# A heading.\n'
    assert found["head of Store"].endswith('    kind = "x"\n')
    assert found["Store.open"] == "    # opens\n    @classmethod\n    async def open(cls): ...\n"
    assert found["Store.close"].endswith('endregion\n"""\n')
    assert found["Store"].endswith("        def deep(self): pass\n")
    assert found["of its own"] == f"# region of its own\n{found['main']}# endregion\n"
    assert found["code after Store"].endswith("def twice(): pass\ndef twice(): pass\n")
    assert found["code after main"].endswith("    main()\n")


def test_a_name_that_is_there_twice_is_not_offered():
    assert not {"twice", "either", "Store.size", "Store.Inner", "Store.deep"} & set(texts(SCRIPT))


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("", []),
        ("print(1)\n", []),
        ("def f(: pass\n", []),
        ("def f(): pass", ["module head", "f"]),
        ("x = 1\r\ndef f(): pass\r\n", []),
        ("class A:\n\tx = 1\n\n\tdef f(self):\n\t\tpass\n", ["module head", "A", "head of A", "A.f"]),
        ("\x0c\ndef f():\n    pass\n\x0c\ndef g(): pass\n", ["module head", "f", "g"]),
        ("// #region One\nfoo();\n// #endregion\n/* region Two */\n/* endregion */\n", ["One", "Two"]),
        ("<!-- region a b -->\n<p>\n<!-- endregion -->\n", ["a b"]),
        ("# region a\n# region b\nx: 1: 2\n# endregion\n# endregion\n", ["a", "b"]),
        ("-- region a\nselect\n-- endregion\n-- region a\nselect\n-- endregion\n", []),
        ("# region NEW after x\nx: 1: 2\n# endregion\n# endregion\n# region open\n", []),
    ],
)
def test_what_can_be_named(script, names):
    assert list(texts(script)) == names


@pytest.mark.parametrize("name", list(texts(SCRIPT)))
@pytest.mark.parametrize("script", [SCRIPT, SCRIPT.rstrip("\n")])
def test_the_same_code_put_back_changes_nothing(script, name):
    assert changed(script, (name, texts(script)[name].removesuffix("\n"))) == script


def test_only_the_regions_lines_change_whatever_the_order():
    new = [("read", "def read(): return 2"), ("Store.close", "    def close(self): return 3")]
    expected = SCRIPT
    for name, code in new:
        expected = expected.replace(texts(SCRIPT)[name], code + "\n")
    assert changed(SCRIPT, *new) == changed(SCRIPT, *reversed(new)) == expected


def test_new_code_comes_after_a_region_and_deleted_code_goes():
    new = changed("def f(): pass\n\n\ndef g(): pass\n", ("f", "def h(): pass", True), ("g", None))
    assert new == "def f(): pass\n\n\ndef h(): pass\n"
    assert changed("def f(): pass\n\n\ndef g(): pass", ("f", None)) == "def g(): pass"
    assert changed("def f(): pass", ("f", "x = 1", True)) == "def f(): pass\n\n\nx = 1"
    assert changed("def f(): pass\n", ("module head", "import os")) == "import os\n\n\ndef f(): pass\n"
    inside = "class A:\n    def f(self): pass\n\nx = 1\n"
    new = changed(inside, ("A", "y = 2", True), ("A.f", "    def g(self): pass", True))
    assert new == "class A:\n    def f(self): pass\n\n    def g(self): pass\n\n\ny = 2\n\nx = 1\n"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ([], "changes no region"),
        ([("nothing", "x = 1")], "does not have"),
        ([("read", "def read(): pass"), ("read", "def read(): 1")], "twice"),
        ([("read", "x = 1", True), ("read", "y = 1", True)], "twice"),
        ([("Store", "class Store: pass"), ("Store.open", "    def open(): pass")], "overlap"),
        ([("Store", "class Store: pass"), ("Store.open", "    def new(): pass", True)], "overlap"),
        ([("of its own", "# region of its own\n# endregion"), ("main", None)], "overlap"),
        ([("of its own", "def main(): pass")], "of its own"),
        ([("read", "def write(): pass")], "does not define it"),
        ([("read", "read = 1")], "does not define it"),
        ([("read", "    def read(): pass")], "not valid"),
        ([("read", "def read(:")], "not valid"),
        ([("read", 'def read():\n    x = """')], "not valid"),
        ([("read", "def read(): pass\ndef fetch(): pass")], "'fetch' once"),
        ([("Store.open", "def open(cls): pass")], "not valid"),
        ([("Store.close", "  def close(self): pass")], "not valid"),
        ([("Store.close", "        def close(self): pass")], "not valid|does not define"),
        ([("read", None), ("fetch", "def read(): pass", True)], "defines it again"),
        ([("head of Store", "class Shop:")], "'Store' once"),
    ],
)
def test_what_does_not_fit_changes_nothing_and_says_why(changes, why):
    with pytest.raises(SpliceError, match=why) as error:
        changed(SCRIPT, *changes)
    assert str(error.value).count(". ") == 0


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("LIMIT = 3", "LIMIT = 4", ["module head"]),
        ("return open(path)", "return 1", ["read"]),
        ("async def open(cls): ...", "async def open(cls): 1", ["Store.open"]),
        ('kind = "x"', 'kind = "y"', ["head of Store"]),
        ("def size(self): return 1", "def size(self): return 2", ["Store"]),
        ('"a": 1', '"a": 2', ["code after fetch"]),
        ("# A heading.", "# Another.", ["code after fetch"]),
        # What comes after them has another name then.
        ("async def fetch(): return 1\n", "", ["DELETE fetch"]),
        ("TABLE =", "def more(): pass\n\n\nTABLE =", ["NEW fetch"]),
        ("TABLE =", "def more(): pass\n\n\nTABLES =", ["DELETE code after fetch", "NEW fetch"]),
        ("    # opens\n", "    def more(self): pass\n\n    # opens\n", ["NEW head of Store"]),
    ],
)
def test_the_difference_of_two_documents_is_as_small_as_it_can_be(old, new, names):
    script = SCRIPT.replace(old, new)
    assert script != SCRIPT
    changes = difference(SCRIPT, script)
    said = [
        ("DELETE " if change.code is None else "NEW " if change.new else "") + change.name
        for change in changes
    ]
    assert said == names
    assert splice(SCRIPT, changes).split() == script.split()


@pytest.mark.parametrize(
    ("base", "script"),
    [
        (SCRIPT, SCRIPT),
        (SCRIPT, SCRIPT + "\n"),
        (SCRIPT, SCRIPT.replace("def read", "def read(")),
        ("def f(): pass\ndef g(): pass\n", "def g(): pass\ndef f(): pass\n"),
        ("def f(): pass\n", "print(1)\n"),
        ("// region a\nx\n// endregion\ny y\n", "// region a\nx\n// endregion\nz z\n"),
    ],
)
def test_what_regions_cannot_say_is_no_difference(base, script):
    assert difference(base, script) is None


PARTS = [
    "import a\n",
    "x = 1\n",
    "# note\n",
    "def a1(): pass\n",
    "def a1(): return 1\n",
    "@b\ndef b1():\n    pass\n",
    "class C1:\n    y = 1\n\n    def f(self): pass\n",
    "class C1:\n    y = 2\n\n    def f(self): pass\n    def g(self): pass\n",
    "class C1:\n    def g(self): return 1\n",
    "# region R\nz = 1\n# endregion\n",
    "if x: pass\n",
]


@given(st.data())
def test_every_difference_that_is_found_makes_the_other_document(data):
    def some(label):
        parts = data.draw(st.lists(st.sampled_from(PARTS), unique_by=lambda part: part[4:9]), label=label)
        return "\n\n".join(parts)

    base, script = some("base"), some("script")
    changes = difference(base, script)
    if changes is not None:
        assert [*filter(None, splice(base, changes).split("\n"))] == [*filter(None, script.split("\n"))]


# The standard library

LIBRARY = Path(sysconfig.get_path("stdlib"))
FILES = [path for path in sorted(LIBRARY.glob("*.py")) if path.stat().st_size < 60_000]


def scripts():
    for path in FILES:
        script = path.read_text("utf-8", errors="replace")
        if parsed(script) is not None and find_regions(script):
            yield path.name, script


def test_the_standard_library_is_put_together_again():
    count = 0
    for name, script in scripts():
        count += 1
        outer = [part for part in find_regions(script) if not part.owner and part.start < part.end]
        lines, changes, end = lines_of(script), [], 0
        for region in outer:
            if region.start >= end:
                code = "".join(lines[region.start : region.end]).removesuffix("\n")
                changes.append(Change(region.name, code))
                end = region.end
        assert splice(script, changes[::-1]) == script, name
    assert count >= 100


def test_one_change_anywhere_in_the_standard_library_touches_only_its_lines():
    for name, script in scripts():
        lines, regions = lines_of(script), find_regions(script)
        definitions = [part for part in regions if part.kind in ("symbol", "method")]
        region = definitions[len(name) * 7 % len(definitions)]
        first = lines[region.start]
        indent = first[: len(first) - len(first.lstrip())]
        code = "".join(lines[region.start : region.end]).removesuffix("\n")
        spliced = splice(script, [Change(region.name, f"{indent}# It is new.\n{code}")])
        expected = [*lines[: region.start], f"{indent}# It is new.\n", *lines[region.start :]]
        assert spliced == "".join(expected), (name, region.name)
        changes = difference(script, spliced)
        assert changes is not None, (name, region.name)
        [change] = changes
        assert change.name in (region.name, f"head of {region.name}"), name
