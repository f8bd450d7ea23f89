"""Whether a failure is the script's own: one that passes when it is run again proves nothing against it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import evolve

from precision_shaking.sape.execution import Execution, trim_traceback
from precision_shaking.sape.sandbox.failure import last_failure
from precision_shaking.sape.vocabulary import Outcome

# What stands in the text is as wrong the second time, and the script's own fault however rarely it is met.
_IN_THE_TEXT = frozenset({
    "AttributeError", "ImportError", "IndentationError", "ModuleNotFoundError", "NameError", "SyntaxError",
    "TabError", "TypeError", "UnboundLocalError",
})  # fmt: skip


async def run_fairly(run: Callable[[], Awaitable[Execution]]) -> Execution:
    """Run something; what fails in a way that luck can have a part in, once more.

    Failing twice is failing: the first run is the answer. Otherwise the second one is, and it tells of the
    first, so that the user can decide.
    """
    first = await run()
    if not may_be_flaky(first):
        return first
    second = await run()
    if second.outcome is Outcome.SCRIPT_ERROR:
        return first
    became = "passed" if second.outcome is Outcome.OK else f"ended otherwise ({second.detail.rstrip('.')})"
    return evolve(
        second,
        output=f"The first run failed:\n{trim_traceback(first.output)}\n\nThe second run:\n{second.output}",
        seconds=first.seconds + second.seconds,
        detail=f"It failed once and {became} on the second run, unchanged: decide whether that will do.",
    )


def may_be_flaky(execution: Execution) -> bool:
    """Whether a run might end otherwise if it were done again."""
    # Without an exit code nothing was run: a check of the text always finds the same.
    if execution.outcome is not Outcome.SCRIPT_ERROR or execution.exit_code is None:
        return False
    failure = last_failure(execution.output)
    return failure is None or failure.errors[-1].partition(":")[0] not in _IN_THE_TEXT
