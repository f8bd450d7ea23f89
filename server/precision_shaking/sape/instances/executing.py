"""What executing means: the ways in which a proposed document can be tried before the user sees it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from attrs import evolve, field, frozen
from attrs.validators import gt

from precision_shaking.sape.execution import Backend, Execution, ExecutionLimits, execute, execute_in_copy
from precision_shaking.sape.instances.documents import Document
from precision_shaking.sape.instances.proofreading import Bounds, findings
from precision_shaking.sape.instances.workspace import WorkspaceError, copy_workspace
from precision_shaking.sape.vocabulary import Outcome


@frozen
class Candidate:
    """A proposed document, and where it belongs.

    Attributes:
        text: The document as the worker made it.
        before: As the step found it.
        name: Its path or URI, as the user's editor or the command line knows it.
        kind: What kind of document it is.
        workspace: The folder it belongs to; None when that is not known.
        allowed: Whether anything may be run.
        unprotected: Whether the user agreed to run commands where they cannot be isolated.
    """

    text: str
    before: str
    name: str
    language: str
    kind: Document
    workspace: Path | None = None
    allowed: bool = True
    unprotected: bool = False


class Executing(Protocol):
    """A way to try a candidate. Cancelling it kills everything it started."""

    by: ClassVar[str]

    async def run(self, candidate: Candidate) -> Execution:
        """Try the candidate and say how it ended."""


@frozen
class Sandboxed:
    """Run the document itself, a Python script, in a sandbox."""

    by: ClassVar[str] = "sandbox"
    seconds: float = field(default=10.0, validator=gt(0))

    async def run(self, candidate: Candidate) -> Execution:
        """See `Executing`."""
        files = candidate.kind.files(candidate.text, candidate.name, None)
        name, script = next(iter(files.items()))
        return await execute(
            script,
            file_name=name,
            language=candidate.language,
            limits=ExecutionLimits(seconds=self.seconds),
            backend=None if candidate.allowed else Backend.NONE,
        )


@frozen
class Pytest:
    """Run pytest on a copy of the workspace: on the files that were written, where they are tests."""

    by: ClassVar[str] = "pytest"
    seconds: float = field(default=30.0, validator=gt(0))

    async def run(self, candidate: Candidate) -> Execution:
        """See `Executing`."""
        written = candidate.kind.written(
            candidate.before, candidate.text, candidate.name, candidate.workspace
        )
        tests = [path for path in written if _is_test(path)]
        words = ("python", "-X", "faulthandler", "-B", "-m", "pytest", "-q", "--color=no", "--tb=short")
        command = (*words, "-p", "no:cacheprovider", "--rootdir=.", "--", *tests)
        execution = await _run_in_copy(candidate, command, self.seconds)
        if execution.outcome is not Outcome.SCRIPT_ERROR:
            return execution
        # Its last line counts what passed and what failed.
        summary = execution.output.strip().rsplit("\n", 1)[-1].strip("= ")
        return evolve(execution, detail=f"The tests do not pass: {summary[:200]}.")


@frozen
class Command:
    """Run a command of the user's on a copy of the workspace.

    Attributes:
        command: Its words; no shell reads them. A first word `python` is the engine's own interpreter.
    """

    by: ClassVar[str] = "command"
    command: tuple[str, ...]
    seconds: float = field(default=60.0, validator=gt(0))

    async def run(self, candidate: Candidate) -> Execution:
        """See `Executing`."""
        execution = await _run_in_copy(candidate, self.command, self.seconds)
        if execution.outcome is not Outcome.SCRIPT_ERROR:
            return execution
        ended = f"`{' '.join(self.command)}` ended with exit status {execution.exit_code}."
        return evolve(execution, detail=ended)


@frozen
class Checks:
    """Run nothing; look at the text's lengths and links. Only what the candidate makes worse is a fault.

    Attributes:
        longest_line: Most characters of a line; 0 for any number. Likewise `most_words` of the whole text.
        links: Whether links are looked at: those to files of the workspace, and to the text's own headings.
    """

    by: ClassVar[str] = "checks"
    longest_line: int = 0
    most_words: int = 0
    links: bool = True

    async def run(self, candidate: Candidate) -> Execution:
        """See `Executing`."""
        started = time.monotonic()
        found = await asyncio.to_thread(self._found, candidate)
        outcome = Outcome.SCRIPT_ERROR if found else Outcome.OK
        detail = f"The checks found {len(found)} fault{'s' * (len(found) > 1)}." if found else ""
        output = "".join(f"{finding}\n" for finding in found)
        return Execution(outcome, output, None, time.monotonic() - started, self.by, detail)

    def _found(self, candidate: Candidate) -> list[str]:
        bounds = Bounds(self.longest_line, self.most_words, self.links)
        kind, name, root = candidate.kind, candidate.name, candidate.workspace
        old = kind.files(candidate.before, name, root)
        new = kind.files(candidate.text, name, root)
        found = []
        for path, text in new.items():
            known = set(findings(old.get(path, ""), path, bounds, root, old))
            found += [finding for finding in findings(text, path, bounds, root, new) if finding not in known]
        return [str(finding) for finding in found]


@frozen
class Nothing:
    """Run nothing and check nothing; the edge from the worker leads to the user."""

    by: ClassVar[str] = "nothing"

    async def run(self, candidate: Candidate) -> Execution:  # noqa: ARG002 - see Executing
        """See `Executing`."""
        return Execution(Outcome.OK, "", None, 0.0, Backend.NONE, "")


STRATEGIES: dict[str, type] = {way.by: way for way in (Sandboxed, Pytest, Command, Checks, Nothing)}


async def _run_in_copy(candidate: Candidate, command: Sequence[str], seconds: float) -> Execution:
    if not candidate.allowed:
        return _not_run("Running is turned off: look at the proposal and decide.")
    changed = candidate.kind.files(candidate.text, candidate.name, candidate.workspace)
    limits = ExecutionLimits(seconds=seconds, cpu_seconds=max(20, int(seconds) + 1))
    with tempfile.TemporaryDirectory(prefix="precision-shaking-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder, "copy")
        try:
            await asyncio.to_thread(copy_workspace, candidate.workspace, changed, copy)
        except WorkspaceError as error:
            return _not_run(str(error))
        except OSError as error:
            return _not_run(f"The workspace cannot be copied for a run: {error.strerror}.")
        backend = None if candidate.unprotected else Backend.BUBBLEWRAP
        return await execute_in_copy(copy, command, limits=limits, backend=backend)


def _not_run(why: str) -> Execution:
    return Execution(Outcome.SANDBOX_UNAVAILABLE, "", None, 0.0, Backend.NONE, why)


def _is_test(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))
