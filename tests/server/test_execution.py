"""What an execution says of a script, whichever backend runs it."""

import sys

import pytest

from precision_shaking.sape.execution import Backend, ExecutionLimits, execute, isolation, trim_traceback
from precision_shaking.sape.vocabulary import Outcome

BOTH = [pytest.param(Backend.BUBBLEWRAP, marks=pytest.mark.sandbox), Backend.PROCESS]

OWN_FAULTS = {
    "exception": ("1 / 0", "ZeroDivisionError"),
    "syntax": ("def f(:\n    pass", "SyntaxError"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "exit_status": ("import sys\nsys.exit('no')", "exit status 1"),
    "os_exit": ("import os\nos._exit(3)", "exit status 3"),
    "segfault": ("import ctypes\nctypes.string_at(0)", "Segmentation fault"),
    "missing_name": ("from json import nothing", "ImportError"),
    "missing_submodule": ("import json.nothing", "ModuleNotFoundError"),
    "mistake_in_a_handler": ("try:\n    import nothing\nexcept ImportError:\n    nosuch", "NameError"),
    "group": ("raise ExceptionGroup('both', [ValueError('a'), KeyError('b')])", "ExceptionGroup"),
    "fake_end_of_file": ("raise EOFError('truncated pickle')", "EOFError"),
}
REFUSALS = {
    "package": ("import nothing_of_this_name", "package"),
    "package_reported": (
        "try:\n    import nothing\nexcept ImportError as e:\n    raise SystemExit(str(e))",
        "package",
    ),
    "package_wrapped": (
        "try:\n    import nothing\nexcept ImportError as e:\n    raise OSError from e",
        "package",
    ),
    "network": ("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')", "network"),
    "display": ("raise RuntimeError('no display name and no $DISPLAY environment variable')", "display"),
    "input": ("name = input('Name? ')", "input"),
    "arguments": ("import sys\nprint(sys.argv[1])", "arguments"),
    "argparse": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('file')\np.parse_args()",
        "arguments",
    ),
    "environment": ("import os\nprint(os.environ['NO_SUCH_NAME'])", "environment"),
    "file": ("print(open('measurements.csv').read())", "file"),
}


@pytest.mark.parametrize("backend", BOTH)
async def test_a_good_script_is_ok(backend):
    result = await execute("import sys\nprint('out')\nprint('err', file=sys.stderr)", backend=backend)
    assert (result.outcome, result.exit_code, result.detail) == (Outcome.OK, 0, "")
    assert result.output == "out\nerr\n"
    assert result.backend == backend
    assert 0 < result.seconds < 10


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(("script", "sign"), OWN_FAULTS.values(), ids=OWN_FAULTS)
async def test_the_script_is_at_fault(script, sign, backend):
    result = await execute(script, backend=backend)
    assert result.outcome is Outcome.SCRIPT_ERROR, result
    assert sign in result.detail


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(("script", "sign"), REFUSALS.values(), ids=REFUSALS)
async def test_what_the_sandbox_lacks_is_no_fault_of_the_script(script, sign, backend):
    result = await execute(script, backend=backend)
    assert result.outcome is Outcome.SANDBOX_DENIED, result
    assert sign in result.detail


@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("while True: pass", Outcome.TIMEOUT),
        ("import time\ntime.sleep(3600)", Outcome.TIMEOUT),
        (
            "import signal, time\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(3600)",
            Outcome.TIMEOUT,
        ),
        ("while True: print('x' * 9999)", Outcome.LIMIT),
        ("hold = bytearray(64 << 30)", Outcome.LIMIT),
        ("import time\nhold = bytearray(400 << 20)\ntime.sleep(3600)", Outcome.LIMIT),
        (
            "import os, time\nfor _ in range(200):\n    os.fork() or time.sleep(3600)\ntime.sleep(3600)",
            Outcome.LIMIT,
        ),
        (
            "import time, threading as t\n"
            "for _ in range(200): t.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
            "time.sleep(3600)",
            Outcome.LIMIT,
        ),
        ("for n in range(999): open(f'f{n}', 'wb').write(bytes(64 << 20))", Outcome.LIMIT),
        ("kept = [open('script.py') for _ in range(999)]", Outcome.LIMIT),
    ],
    ids=["loop", "sleep", "stubborn", "flood", "reserve", "memory", "forks", "threads", "files", "open"],
)
async def test_limits_hold(script, outcome, backend):
    limits = ExecutionLimits(seconds=3, memory_bytes=200 << 20)
    result = await execute(script, backend=backend, limits=limits)
    assert result.outcome is outcome, result
    assert result.detail.endswith(".")
    assert len(result.output) < limits.output_bytes + 100
    # Without its limit each would run for ever; how soon it is gone is also the machine's matter.
    assert result.seconds < 30


@pytest.mark.parametrize("backend", BOTH)
async def test_processor_time_has_a_limit_of_its_own(backend):
    result = await execute("while True: pass", backend=backend, limits=ExecutionLimits(cpu_seconds=1))
    assert result.outcome is Outcome.TIMEOUT
    assert "processor time" in result.detail


@pytest.mark.parametrize("backend", BOTH)
async def test_a_child_that_keeps_the_output_open_does_not_keep_us(backend):
    script = "import subprocess\nsubprocess.Popen(['sleep', '3600'])\nprint('done')"
    result = await execute(script, backend=backend)
    assert (result.outcome, result.output) == (Outcome.OK, "done\n")
    assert result.seconds < 60


@pytest.mark.parametrize("backend", BOTH)
async def test_the_copy_has_the_name_of_the_document_and_nothing_of_its_folder(backend):
    script = "from pathlib import Path\nprint(__file__, sorted(p.name for p in Path().iterdir()))"
    result = await execute(script, file_name="../../etc/tool.py", backend=backend)
    assert result.output == "/script/tool.py ['tool.py']\n"


@pytest.mark.parametrize("name", ["", "..", "/", "x" * 300, "\0"])
async def test_a_name_that_is_no_file_name_is_replaced(name):
    result = await execute("print(__file__)", file_name=name, backend=Backend.PROCESS)
    assert result.output.endswith("script.py\n")


async def test_turned_off_only_the_syntax_is_looked_at(tmp_path):
    trace = tmp_path / "trace"
    good = await execute(f"open({str(trace)!r}, 'w')", backend=Backend.NONE)
    bad = await execute("def f(:", backend=Backend.NONE)
    assert (good.outcome, good.backend, good.exit_code) == (Outcome.SANDBOX_UNAVAILABLE, "none", None)
    assert not trace.exists()
    assert (bad.outcome, bad.backend) == (Outcome.SCRIPT_ERROR, "none")


async def test_other_languages_are_left_to_the_user():
    result = await execute("console.log(1)", language="javascript")
    assert result.outcome is Outcome.SANDBOX_UNAVAILABLE
    assert "Only Python" in result.detail


async def test_an_interpreter_that_is_missing_or_no_python_is_said():
    for name in ("/no/such/python", "/bin/echo"):
        result = await execute("print(1)", interpreter=name)
        assert result.outcome is Outcome.SANDBOX_UNAVAILABLE
        assert name in result.detail


async def test_another_interpreter_can_be_named():
    result = await execute("import sys\nprint(sys.version_info[0])", interpreter=sys.executable)
    assert (result.outcome, result.output) == (Outcome.OK, "3\n")


async def test_text_that_is_no_unicode_is_the_scripts_fault():
    assert (await execute("'\ud800'")).outcome is Outcome.SCRIPT_ERROR


async def test_without_bubblewrap_a_process_does_and_says_so():
    found = await isolation()
    result = await execute("print(1)")
    assert result.backend == ("bubblewrap" if found.works else "process")
    assert bool(found.why) is not found.works


def test_the_lead_is_told_the_traceback_and_not_what_came_before():
    output = "row\n" * 999 + 'Traceback (most recent call last):\n  File "s.py", line 1\nValueError: no\n'
    assert trim_traceback(output) == output[output.index("Traceback") :].strip()
    assert trim_traceback("only words\n") == "only words"


def test_a_long_traceback_keeps_its_end():
    frames = "".join(f'  File "s.py", line {n}, in f\n' for n in range(999))
    text = trim_traceback(f"Traceback (most recent call last):\n{frames}ValueError: the end\n", max_chars=300)
    assert len(text) == 300
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: the end")
