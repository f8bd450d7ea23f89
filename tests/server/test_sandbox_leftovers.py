"""Nothing of an execution survives it: no process, no descriptor, no file."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from precision_shaking.sape.execution import Backend, ExecutionLimits, execute
from precision_shaking.sape.vocabulary import Outcome

BOTH = [pytest.param(Backend.BUBBLEWRAP, marks=pytest.mark.sandbox), Backend.PROCESS]
CHILDREN = (
    "import subprocess, time\nfor _ in range(3): subprocess.Popen(['sleep', '{seconds}'])\ntime.sleep(3600)"
)
ENGINE = """
import asyncio, sys
from precision_shaking.sape.execution import Backend, execute
asyncio.run(execute(sys.argv[1], backend=Backend(sys.argv[2])))
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="processes are looked up in /proc"
)


def commands_with(word: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def sleepers(seconds: str) -> list[int]:
    """Return the processes `sleep SECONDS`; each test sleeps its own number of seconds."""
    return commands_with(f"sleep\0{seconds}\0")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the kernel tells nobody that a process has appeared
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("backend", BOTH)
async def test_cancelling_kills_the_whole_tree(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seconds = f"3601.{os.getpid()}"
    running = asyncio.create_task(execute(CHILDREN.format(seconds=seconds), backend=backend))
    await until(lambda: len(sleepers(seconds)) == 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not sleepers(seconds))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("backend", BOTH)
async def test_cancelling_while_it_starts_leaves_nothing(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = f"started-{os.getpid()}.py"
    # Cancelled after so many turns of the loop and milliseconds, it is caught at every stage of its start.
    for turns, milliseconds in [*((turns, 0) for turns in range(12)), *((1, late) for late in range(24))]:
        running = asyncio.create_task(
            execute("import time\ntime.sleep(3600)", file_name=name, backend=backend)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.sleep(milliseconds / 1000)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert not list(tmp_path.iterdir())
    assert not commands_with(name)


@pytest.mark.parametrize("backend", BOTH)
async def test_when_the_engine_is_killed_the_script_dies(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed engine cannot clear away
    seconds = f"3602.{os.getpid()}"
    # The first process of a tree is all that dies surely without namespaces; there it replaces itself.
    script = f"import os\nos.execvp('sleep', ['sleep', '{seconds}'])"
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", ENGINE, script, str(backend))
    await until(lambda: len(sleepers(seconds)) == 1)
    engine.kill()
    await engine.wait()
    await until(lambda: not sleepers(seconds))


@pytest.mark.sandbox
async def test_a_daemon_dies_with_its_script():
    seconds = f"3603.{os.getpid()}"
    script = f"""
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{seconds}"])
    os._exit(0)
os.wait()
"""
    result = await execute(script, backend=Backend.BUBBLEWRAP)
    assert result.outcome is Outcome.OK
    assert not sleepers(seconds)


@pytest.mark.parametrize("backend", BOTH)
async def test_thirty_runs_leave_no_descriptor_no_zombie_and_no_file(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    await execute("pass", backend=backend)  # what is made once is made now
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.iterdir would hold the folder open
    for number in range(30):
        script = ["print(1)", "1 / 0", "import os\nos.fork()"][number % 3]
        await execute(script, backend=backend, limits=ExecutionLimits(seconds=5))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert not list(tmp_path.iterdir())
    tasks = Path("/proc/self/task")
    children = [file.read_text() for file in tasks.glob("*/children")]  # noqa: ASYNC240
    assert "".join(children).split() == []


async def test_runs_side_by_side_do_not_mix():
    results = await asyncio.gather(*(execute(f"print({number})") for number in range(8)))
    assert [result.output for result in results] == [f"{number}\n" for number in range(8)]


def test_interrupting_the_command_ends_the_script():
    seconds = f"3604.{os.getpid()}"
    script = f"import os\nos.execvp('sleep', ['sleep', '{seconds}'])"
    with subprocess.Popen(
        [sys.executable, "-c", ENGINE, script, "process"], stderr=subprocess.DEVNULL, start_new_session=True
    ) as engine:
        deadline = time.monotonic() + 20
        while not sleepers(seconds):
            assert time.monotonic() < deadline
        engine.send_signal(signal.SIGINT)
        engine.wait(20)
    assert not sleepers(seconds)
