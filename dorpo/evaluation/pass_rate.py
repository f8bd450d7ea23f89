"""Whether a student's own answers can be read and run: judged from their texts, without a model.

Scripts are run by the product's command `precision-shaking execute`, which puts them into its sandbox.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import field, frozen

from dorpo.evaluation.lengths import Generated
from dorpo.rendering import UnreadableAnswerError, parse_response
from dorpo.training.request import TrainingRefusedError

_COMMAND = "precision-shaking"
UNREADABLE = "unreadable"
# Endings that say nothing of the script: it asked for what the sandbox has not, or never ran.
_NOT_JUDGED = frozenset({"sandbox_denied", "sandbox_unavailable", "cancelled"})


@frozen
class Ran:
    """How a script ended, and what stood between it and the machine, in the command's words."""

    outcome: str
    backend: str


@frozen(kw_only=True)
class PassRate:
    """What became of the answers.

    Attributes:
        answers: How many there are.
        passed: Those whose script ran without an error.
        rate: Share of these among all that can be judged; None when no answer can.
        outcomes: How often each ending occurred; "unreadable" for answers without a script.
        backends: What the scripts were run behind.
    """

    answers: int
    passed: int
    rate: float | None
    outcomes: dict[str, int] = field(factory=dict)
    backends: tuple[str, ...] = ()


def judge(answers: Sequence[Generated], run: Callable[[str], Ran]) -> PassRate:
    """Read each answer and run the script in it.

    Args:
        answers: At least one.
        run: Runs a script.
    """
    outcomes: Counter[str] = Counter()
    backends: set[str] = set()
    for answer in answers:
        try:
            script = parse_response(answer.text, ended=answer.ended).script
        except UnreadableAnswerError:
            outcomes[UNREADABLE] += 1
            continue
        ran = run(script)
        outcomes[ran.outcome] += 1
        backends.add(ran.backend)
    judged = len(answers) - sum(outcomes[name] for name in _NOT_JUDGED)
    return PassRate(
        answers=len(answers),
        passed=outcomes["ok"],
        rate=outcomes["ok"] / judged if judged else None,
        outcomes={name: count for name, count in sorted(outcomes.items()) if count},
        backends=tuple(sorted(backends)),
    )


def find_command() -> str:
    """The command that runs scripts: the one installed beside this Python first.

    Raises:
        TrainingRefusedError: It is not installed.
    """
    beside = shutil.which(_COMMAND, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(_COMMAND)
    if found is None:
        raise TrainingRefusedError(
            f"--execute needs the command {_COMMAND}, which is not installed: run pip install {_COMMAND}, "
            "or leave --execute out."
        )
    return found


def run_with(command: str) -> Callable[[str], Ran]:
    """A function that runs a script with the command.

    The function raises TrainingRefusedError when the command cannot do its work.
    """

    def run(script: str) -> Ran:
        result = subprocess.run(  # noqa: S603 - the command that `find_command` found
            [command, "execute", "-", "--json"], input=script.encode(), capture_output=True, check=False
        )
        try:
            told = json.loads(result.stdout)
            return Ran(told["outcome"], told["backend"])
        except (ValueError, KeyError, TypeError) as error:
            lines = result.stderr.decode(errors="replace").strip().split("\n")
            why = lines[-1] or f"exit status {result.returncode}"
            raise TrainingRefusedError(
                f"The command {command} cannot run scripts ({why}): leave --execute out."
            ) from error

    return run
