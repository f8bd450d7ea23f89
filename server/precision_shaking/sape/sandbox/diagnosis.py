"""Whose fault an ending was: the script's, a limit's, or the sandbox's, which lacks what the script needs.

Only the script's own faults may become training data, so every doubt is decided in the script's favour: the
user then looks at the proposal and says what they think.
"""

from __future__ import annotations

import re
import signal
import sys

from attrs import frozen

from precision_shaking.sape.sandbox.failure import Failure, last_failure
from precision_shaking.sape.sandbox.limits import MIB, ExecutionLimits
from precision_shaking.sape.sandbox.supervision import Ending, Stop
from precision_shaking.sape.vocabulary import Outcome


@frozen
class _Sign:
    pattern: re.Pattern[str]
    outcome: Outcome
    sentence: str


def _denied(pattern: str, sentence: str) -> _Sign:
    return _Sign(re.compile(pattern), Outcome.SANDBOX_DENIED, sentence)


def _limit(pattern: str, sentence: str) -> _Sign:
    return _Sign(re.compile(pattern), Outcome.LIMIT, sentence)


_NETWORK = (
    r"gaierror|name resolution|Name or service not known|Network is unreachable|No route to host"
    r"|Connection refused|Cannot connect to host|Max retries exceeded|Failed to resolve|Errno 101|Errno 111"
)
_DISPLAY = (
    r"\$DISPLAY|[Cc]ould(?:n't| not) connect to display|cannot connect to X server|Unable to open display"
    r"|qt\.qpa\.|No available video device|No module named '_?tkinter'"
)
# Said of a message: the errors of a traceback, or the last lines of a script that reports its errors itself.
_SIGNS = (
    _limit(r"MemoryError|Cannot allocate memory", "The script asked for more memory than it may have."),
    _limit(
        r"can't start new thread|Resource temporarily unavailable",
        "The script started more processes or threads than it may have.",
    ),
    _limit(r"No space left on device|File too large", "The script wrote more to its disk than it may."),
    _limit(r"Too many open files", "The script opened more files than it may."),
    _denied(_DISPLAY, "The script opens windows, and there is no display where it runs."),
    _denied(
        r"No module named '?[\w.]+|Missing optional dependency|cannot open shared object file",
        "The script needs a package that its interpreter does not have.",
    ),
    _denied(_NETWORK, "The script could not reach the network."),
    _denied(r"EOF when reading a line", "The script asks for input, and nobody can type any here."),
    _denied(
        r"termios\.error|_?curses\.error|Inappropriate ioctl|the following arguments are required",
        "The script needs a terminal or command line arguments, and it is run without.",
    ),
)
# Said of a traceback's errors only: in a script's own words they mean too many things.
_ERROR_SIGNS = (
    *_SIGNS,
    _denied(r"^FileNotFoundError", "The script needs a file that is not there where it is run."),
    _denied(
        r"PermissionError|Read-only file system", "The script does something that it is not allowed to do."
    ),
)
# Said of the last lines of a traceback, source lines included.
_CONTEXT_SIGNS = (
    _denied(
        r"os\W.*__getitem__\n+KeyError: ",
        "The script needs an environment variable, and it is run in a clean environment.",
    ),
    _denied(
        r"sys\.argv.*\n(?:[ ~^]*\n)?(?:IndexError|ValueError): ",
        "The script needs command line arguments, and it is run without.",
    ),
)
# Raised while another error is handled, these are mistakes of their own.
_OWN_MISTAKES = ("NameError", "UnboundLocalError", "AttributeError", "TypeError", "SyntaxError")
_FINAL_WORDS = 2000
# What stands before the interpreter in the command line, and complains when it cannot start it.
_LAUNCHERS = ("bwrap: ", "prlimit: ", "setpriv: ", "sh: ", "/bin/sh: ")


def diagnose(ending: Ending, limits: ExecutionLimits) -> tuple[Outcome, str]:
    """Return the outcome of an execution and one sentence about it, empty when all went well."""
    if ending.stopped is not None:
        return _stopped(ending.stopped, limits)
    if ending.exit_code == 0:
        return Outcome.OK, ""
    if ending.output.startswith(_LAUNCHERS):
        words = ending.output.splitlines()[0][:200]
        return Outcome.SANDBOX_UNAVAILABLE, f"The script could not be started, try again: {words}"
    if ending.exit_code == 128 + signal.SIGXCPU:
        return Outcome.TIMEOUT, f"The script was stopped after {limits.cpu_seconds} s of processor time."
    if ending.exit_code == 128 + signal.SIGKILL:
        return (
            Outcome.LIMIT,
            "The system killed the script, most likely because it used too much memory or time.",
        )
    failure = last_failure(ending.output)
    sign = _sign_of_silence(ending.output) if failure is None else _sign_of_failure(failure)
    if sign is not None:
        return sign.outcome, sign.sentence
    return Outcome.SCRIPT_ERROR, _own_fault(ending.exit_code, failure)


def _stopped(stop: Stop, limits: ExecutionLimits) -> tuple[Outcome, str]:
    match stop:
        case Stop.TIME:
            return Outcome.TIMEOUT, f"The script was stopped after {limits.seconds:g} s."
        case Stop.MEMORY:
            what = f"used more than {limits.memory_bytes // MIB} MiB of memory"
        case Stop.PROCESSES:
            what = f"had more than {limits.processes} processes or threads"
        case Stop.OUTPUT:
            what = f"wrote more than {limits.flood_bytes // 1024} KiB of output"
    return Outcome.LIMIT, f"The script {what} and was stopped."


def _sign_of_failure(failure: Failure) -> _Sign | None:
    for sign in _CONTEXT_SIGNS:
        if sign.pattern.search(failure.context):
            return sign
    # The last error counts first; those it was raised from explain it, unless it is a mistake of its own.
    last = failure.errors[-1]
    errors = failure.errors[-1:] if last.startswith(_OWN_MISTAKES) else failure.errors[::-1]
    for error in errors:
        if _misspelt_submodule(error):
            continue
        for sign in _ERROR_SIGNS:
            if sign.pattern.search(error):
                return sign
    return None


def _sign_of_silence(output: str) -> _Sign | None:
    """Look for a sign where the script caught its error and said it in its own words."""
    return next((sign for sign in _SIGNS if sign.pattern.search(output[-_FINAL_WORDS:])), None)


def _misspelt_submodule(error: str) -> bool:
    """Tell whether a package of the standard library was asked for a module it never had."""
    missing = re.search(r"No module named '(\w+)\.", error)
    return missing is not None and missing[1] in sys.stdlib_module_names


def _own_fault(exit_code: int, failure: Failure | None) -> str:
    if failure is not None:
        return f"The script ended with {failure.errors[-1].splitlines()[0][:200]}"
    if exit_code > 128 and (number := exit_code - 128) in signal.valid_signals():
        return f"The script was ended by the signal {signal.Signals(number).name}."
    return f"The script ended with exit status {exit_code}."
