"""Scripts that fail and then do not: real ones, which remember in a file that they were run before."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve, frozen
from scripted_teacher import ScriptedTeacher, work

from precision_shaking.sape import events as e
from precision_shaking.sape.execution import Backend, ExecutionLimits, execute
from precision_shaking.sape.flakiness import run_fairly
from precision_shaking.sape.instances.catalogue import default
from precision_shaking.sape.instances.executing import Sandboxed
from precision_shaking.sape.vocabulary import Outcome
from tests.server.play import ACCEPT, NEW, ONE_STEP


def script(place, then):
    """A script that counts its runs in a file; `then` sees the number of this one as `n`."""
    counting = f"""
with open({str(place)!r}, 'a+') as runs:
    n = runs.write('x') and runs.tell()
print('run', n)
"""
    return f"{counting.strip()}\n{then}\n"


FAILS_ONCE = "if n == 1:\n    raise ValueError('bad luck')"


@frozen
class Unconfined(Sandboxed):
    """Where a script may write into a file that is there for its next run."""

    async def run(self, candidate):
        return await execute(candidate.text, backend=Backend.PROCESS)


async def fairly(place, then, *, seconds=10.0):
    """What came of it, and how often the script was run."""
    text, limits = script(place, then), ExecutionLimits(seconds=seconds)
    execution = await run_fairly(lambda: execute(text, limits=limits, backend=Backend.PROCESS))
    return execution, len(place.read_text()) if place.exists() else 0


async def test_what_fails_once_and_then_passes_is_for_the_user_to_judge(tmp_path):
    execution, runs = await fairly(tmp_path / "runs", FAILS_ONCE)
    assert (execution.outcome, execution.exit_code, runs) == (Outcome.OK, 0, 2)
    assert execution.detail.startswith("It failed once and passed on the second run")
    first, second = execution.output.split("The second run:\n")
    assert "ValueError: bad luck" in first
    assert second == "run 2\n"


async def test_what_fails_twice_has_failed_as_it_did_first(tmp_path):
    execution, runs = await fairly(tmp_path / "runs", "raise ValueError(f'unlucky in run {n}')")
    assert (execution.outcome, runs) == (Outcome.SCRIPT_ERROR, 2)
    assert "unlucky in run 1" in execution.output
    assert "run 2" not in execution.output


async def test_what_then_ends_otherwise_is_no_error_either(tmp_path):
    hangs = "import time\nif n == 1:\n    raise ValueError\ntime.sleep(60)"
    execution, runs = await fairly(tmp_path / "runs", hangs, seconds=1.0)
    assert (execution.outcome, runs) == (Outcome.TIMEOUT, 2)
    assert execution.detail.startswith("It failed once and ended otherwise (")


@pytest.mark.parametrize(
    ("then", "runs"),
    [
        ("pass", 1),
        ("no_such_name", 1),
        ("import json.nothing", 1),
        ("'' + 1", 1),
        ("open('no such file')", 1),
        ("raise SystemExit(3)", 2),
        ("assert n > 9", 2),
    ],
)
async def test_only_what_luck_can_have_a_part_in_is_run_again(tmp_path, then, runs):
    _, counted = await fairly(tmp_path / "runs", then)
    assert counted == runs


async def test_a_script_that_is_no_python_is_not_run_again():
    times = 0

    async def run():
        nonlocal times
        times += 1
        return await execute("def f(:", backend=Backend.PROCESS)

    assert (await run_fairly(run)).outcome is Outcome.SCRIPT_ERROR
    assert times == 1


async def test_a_run_that_is_cancelled_is_not_repeated(tmp_path):
    task = asyncio.ensure_future(fairly(tmp_path / "runs", "import time\ntime.sleep(60)"))
    while not (tmp_path / "runs").exists():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "runs").read_text() == "x"


async def test_c43_a_flaky_script_is_shown_and_is_no_error_row(play, tmp_path):
    flaky = script(tmp_path / "runs", FAILS_ONCE)
    instance = evolve(default(), executing=Unconfined())
    with ScriptedTeacher({**ONE_STEP, "worker": [work(flaky)]}) as teacher:
        played = await play(ACCEPT).run(teacher, instance=instance)
    [run] = played.of(e.AttemptExecuted)
    assert (run.outcome, "passed on the second run" in run.detail) == (Outcome.OK, True)
    [proposal] = played.of(e.ProposalReady)
    assert "bad luck" in proposal.output
    assert played.rows() == [(work(flaky), None)]


async def test_c43_a_script_that_fails_twice_is_an_error_row(play, tmp_path):
    broken = script(tmp_path / "runs", "raise ValueError('always')")
    instance = evolve(default(), executing=Unconfined())
    with ScriptedTeacher({**ONE_STEP, "worker": [work(broken), work(NEW)]}) as teacher:
        played = await play(ACCEPT).run(teacher, instance=instance)
    assert (tmp_path / "runs").read_text() == "xx"
    assert [run.outcome for run in played.of(e.AttemptExecuted)] == [Outcome.SCRIPT_ERROR, Outcome.OK]
    assert played.rows() == [(work(NEW), work(broken))]
