"""The optimising process: a job in on standard input, messages out, and an end when its input closes.

A process of its own, because optimizers print to standard output, draw progress bars and cannot be cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import cattrs

from dorpo.store import default_path
from precision_shaking.sape.environment import quieten
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.loading import to_instance
from precision_shaking.sape.optimizing.job import GEPA, Compiled, Job, Message, Task
from precision_shaking.sape.teachers import Teacher, TeacherError, connect

if TYPE_CHECKING:
    from precision_shaking.sape.agents import Agent

Send = Callable[[Message], None]


def main() -> None:
    """Do one job, then end the process."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    # What libraries print is nobody's message.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    quieten(default_path().parent)

    def send(message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):
            output.write(json.dumps(cattrs.unstructure(message)) + "\n")

    asyncio.run(_serve(cattrs.structure(json.loads(sys.stdin.buffer.readline()), Job), send))


async def _serve(job: Job, send: Send) -> None:
    working = asyncio.ensure_future(_work(job, send))
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # Whoever started this has gone, or wants it to stop.
        while os.read(0, 4096):
            pass
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(working.cancel)

    threading.Thread(target=watch, name="stdin", daemon=True).start()
    with contextlib.suppress(asyncio.CancelledError):
        await working
    # Scripts that still run are killed with their tasks; an optimizer's thread ends with the process.
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    os._exit(0)


async def _work(job: Job, send: Send) -> None:
    try:
        teacher = connect(job.teacher)
        # The answers are only judged; as soft labels they would be copied into the programs.
        teacher.top_logprobs = None
        instance = to_instance(job.instance, "the declaration")
        for task in job.tasks:
            await _optimize(task, instance, job.method, teacher, send)
    except TeacherError as error:
        send(Message(failure=str(error)))
    except ImportError as error:
        missing = f"A package is missing ({error.name}): install precision-shaking[agents]."
        send(Message(failure=missing))
    except Exception as error:
        traceback.print_exc()
        send(Message(failure=f"The optimizer stumbled over {type(error).__name__}: {error}"))


async def _optimize(task: Task, instance: Instance, method: str, teacher: Teacher, send: Send) -> None:
    from precision_shaking.sape.agents import Agents
    from precision_shaking.sape.optimizing.compiling import few_shot, measure
    from precision_shaking.sape.optimizing.equipping import equip
    from precision_shaking.sape.optimizing.programs import without_leftovers
    from precision_shaking.sape.optimizing.reflecting import gepa

    plain = getattr(Agents.of(instance), task.agent)
    old = _in_use(plain, task.state)
    held_out = task.split.held_out
    send(Message(f"{task.agent}: asking {len(held_out)} held-out questions as it is"))
    before = await measure(old, teacher, held_out, instance)
    send(Message(f"{task.agent}: learning from {len(task.split.train)} ({method})"))
    if method == GEPA:
        module = await gepa(plain, teacher, task.split.train, instance)
    else:
        module = few_shot(plain, task.split.train, embedded=teacher.embedded)
    state: dict[str, Any] = without_leftovers(module.dump_state())
    send(Message(f"{task.agent}: asking the same questions again"))
    after = await measure(equip(plain, state), teacher, held_out, instance)
    scores = ([one.score for one in before], [one.score for one in after])
    send(Message(compiled=Compiled(task.agent, state, version("dspy"), *map(tuple, scores))))


def _in_use(plain: Agent, state: dict[str, Any] | None) -> Agent:
    """The agent as sessions have it: without its program, where that cannot be used."""
    from precision_shaking.sape.optimizing.equipping import equip
    from precision_shaking.sape.optimizing.programs import ProgramError

    with contextlib.suppress(ProgramError):
        return plain if state is None else equip(plain, state)
    return plain


if __name__ == "__main__":
    main()
