"""Finding out once whether bubblewrap works on this machine, and if not, why and what would help."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

from attrs import frozen

from precision_shaking.sape.sandbox.bubblewrap import bubblewrap_launch
from precision_shaking.sape.sandbox.interpreter import Interpreter
from precision_shaking.sape.sandbox.limits import ExecutionLimits

_PROBE_SECONDS = 5
_CONTAINER = (
    "This container may not make namespaces, so scripts cannot be isolated: start it with the option "
    "--security-opt seccomp=unconfined, or with Podman."
)
_APPARMOR = (
    "AppArmor keeps bubblewrap from making namespaces, so scripts cannot be isolated: add an AppArmor "
    "profile for /usr/bin/bwrap that allows userns."
)
# What bubblewrap says when it cannot start, and what helps.
_CURES = (
    ("RTM_NEWADDR", _APPARMOR),
    ("RTM_NEWLINK", _APPARMOR),
    ("setting up uid map: Permission denied", _APPARMOR),
    ("No permissions to create", _CONTAINER),
    (
        "Creating new namespace failed",
        "This system has no user namespaces left or allowed, so scripts cannot be isolated: raise the kernel "
        "setting user.max_user_namespaces.",
    ),
    (
        "Unknown option",
        "The installed bubblewrap is too old to isolate scripts: install version 0.8 or newer.",
    ),
    (
        "execvp prlimit",
        "The program prlimit is missing, so scripts cannot be isolated: install the package util-linux.",
    ),
)


@frozen
class Isolation:
    """Whether scripts can be isolated here.

    Attributes:
        works: bubblewrap ran a script.
        as_root: With root's power instead of an ordinary user's.
        why: One sentence on what is missing and what would help; empty when it works.
    """

    works: bool
    as_root: bool = False
    why: str = ""


@cache
def probe(interpreter: Interpreter) -> Isolation:
    """Run an empty script in the sandbox, once per interpreter and program run. It takes some 20 ms."""
    if not sys.platform.startswith("linux"):
        return Isolation(works=False, why="Scripts can be isolated on Linux only, with bubblewrap.")
    program = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    if program is None:
        return Isolation(
            works=False, why="Scripts cannot be isolated without bubblewrap: install the package bubblewrap."
        )
    if Path(program).stat().st_mode & stat.S_ISUID:
        return Isolation(
            works=False,
            why=f"{program} runs as root for everybody, a risk: take that away with chmod u-s {program}.",
        )
    # In a container root may lack the power for namespaces where an ordinary user has it.
    words = ""
    for as_root in (True, False) if os.geteuid() == 0 else (False,):
        words = _try(interpreter, as_root=as_root)
        if not words:
            return Isolation(works=True, as_root=as_root)
    return Isolation(works=False, why=explain(words))


def _try(interpreter: Interpreter, *, as_root: bool) -> str:
    """Return what went wrong, nothing when the probe ran."""
    limits = ExecutionLimits()
    try:
        with bubblewrap_launch(b"", "probe.py", interpreter, limits, as_root=as_root) as launch:
            done = subprocess.run(  # noqa: S603 - our own command line
                launch.argv,
                env=launch.environment,
                cwd=launch.folder,
                pass_fds=launch.inherited,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_PROBE_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"it did not answer in {_PROBE_SECONDS} s"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return done.stderr.decode(errors="replace").strip() or f"it ended with status {done.returncode}"


def explain(words: str) -> str:
    """Turn what bubblewrap said when it could not start into a sentence with the cure, where one is known."""
    for sign, sentence in _CURES:
        if sign in words:
            return sentence
    return f"Scripts cannot be isolated, bubblewrap does not start here: {words.splitlines()[0][:200]}"
