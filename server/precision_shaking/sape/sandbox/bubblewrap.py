"""The isolating backend: a script alone in namespaces of its own, under bubblewrap.

It sees the system's programs and its interpreter, both read-only, and a copy of itself. It sees none of the
user's files, no network and no process but its own.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from precision_shaking.sape.sandbox.interpreter import Interpreter
from precision_shaking.sape.sandbox.limits import MIB, ExecutionLimits
from precision_shaking.sape.sandbox.process import PYTHON_OPTIONS, clean_environment
from precision_shaking.sape.sandbox.seccomp import seccomp_program
from precision_shaking.sape.sandbox.supervision import Launch

_HOME = "/home/sandbox"
WORK_FOLDER = "/script"
# Where a folder's copy is made from, inside; read-only.
_COPIED_FROM = "/copied"
_COPY_THEN_RUN = f'cp -R {_COPIED_FROM}/. . && exec "$@"'
_NOBODY = 65534
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives")
# Ids for scripts that root runs: nobody has them, so the kernel counts one script's processes alone.
_STRANGERS = range(1_000_000_000, 2_000_000_000)


@contextmanager
def bubblewrap_launch(
    script: bytes,
    file_name: str,
    interpreter: Interpreter,
    limits: ExecutionLimits,
    *,
    as_root: bool,
) -> Iterator[Launch]:
    """Prepare a script to be run in its sandbox.

    Args:
        script: Its source, UTF-8.
        file_name: A plain name for its copy.
        interpreter: The Python to use.
        limits: What it may use.
        as_root: Make the namespaces with root's power and run the script as a stranger; otherwise they are an
            ordinary user's. Root's own id would not do: the kernel never counts its processes.

    Raises:
        OSError: There is no memory or descriptor left.
    """
    with ExitStack() as stack:
        copy = _descriptor(stack, script)
        contents = ["--perms", "0644", "--file", str(copy), f"{WORK_FOLDER}/{file_name}"]
        command = [interpreter.executable, *PYTHON_OPTIONS, f"{WORK_FOLDER}/{file_name}"]
        yield _launch(stack, contents, [copy], command, interpreter, limits, as_root=as_root)


@contextmanager
def bubblewrap_folder_launch(
    folder: Path,
    command: Sequence[str],
    interpreter: Interpreter,
    limits: ExecutionLimits,
    *,
    as_root: bool,
) -> Iterator[Launch]:
    """Prepare a command to be run in a sandbox that holds a copy of a folder; arguments as above.

    The command may write into its copy, which is in memory and bounded: nothing reaches the folder itself.

    Raises:
        OSError: There is no memory or descriptor left.
    """
    with ExitStack() as stack:
        contents = ["--ro-bind", str(folder), _COPIED_FROM]
        words = ["/bin/sh", "-c", _COPY_THEN_RUN, "sh", *command]
        yield _launch(stack, contents, [], words, interpreter, limits, as_root=as_root)


def _launch(
    stack: ExitStack,
    contents: list[str],
    held: list[int],
    command: Sequence[str],
    interpreter: Interpreter,
    limits: ExecutionLimits,
    *,
    as_root: bool,
) -> Launch:
    """A sandbox with these contents. `held`: the descriptors that they come from."""
    user = secrets.choice(_STRANGERS) if as_root else _NOBODY
    files = {path: _descriptor(stack, text.encode()) for path, text in _system_files(user).items()}
    told, telling = os.pipe()
    stack.callback(os.close, told)
    stack.callback(os.close, telling)
    os.set_blocking(told, False)
    options = [
        *_isolation(user, as_root=as_root),
        *_environment(interpreter),
        *_system(),
        *_writable(),
        *_interpreter(interpreter),
        *(
            word
            for path, fd in files.items()
            for word in ("--perms", "0644", "--ro-bind-data", str(fd), path)
        ),
        *contents,
        # Its own root and /dev are in memory without a bound, and its /proc has the kernel's settings.
        *("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", WORK_FOLDER),
        *("--info-fd", str(telling)),
    ]
    inherited = [*files.values(), *held, telling]
    if (program := seccomp_program()) is not None:
        inherited.append(_descriptor(stack, program))
        options += ["--seccomp", str(inherited[-1])]
    inherited.append(_descriptor(stack, b"".join(os.fsencode(option) + b"\0" for option in options)))
    become = _become(user) if as_root else []
    argv = ("bwrap", "--args", str(inherited[-1]), "--", *become, *_limited(limits), *command)
    # Bubblewrap's first process stays visible inside: its environment has to be clean from the outside.
    return Launch(argv, {"PATH": "/usr/bin:/bin:/usr/local/bin"}, "/", tuple(inherited), told)


def _descriptor(stack: ExitStack, data: bytes) -> int:
    """Put data where only a descriptor leads to it: no file, and no pipe that could fill up."""
    descriptor = os.memfd_create("precision-shaking")
    stack.callback(os.close, descriptor)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _isolation(user: int, *, as_root: bool) -> list[str]:
    words = [
        *("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    ]
    if as_root:
        return [*words, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    return [*words, "--unshare-user", "--disable-userns", "--uid", str(user), "--gid", str(user)]


def _system_files(user: int) -> dict[str, str]:
    """What the C library wants to know; the machine's own files would tell who uses it."""
    return {
        "/etc/passwd": f"sandbox:x:{user}:{user}:sandbox:{_HOME}:/bin/sh\n",
        "/etc/group": f"sandbox:x:{user}:\n",
        "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }


def _environment(interpreter: Interpreter) -> list[str]:
    variables = clean_environment(home=_HOME, temporary="/tmp", interpreter=interpreter)  # noqa: S108 - its own
    return ["--clearenv", *(word for item in variables.items() for word in ("--setenv", *item))]


def _system() -> list[str]:
    words = ["--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc"]
    for name in _SYSTEM_FOLDERS:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for file in _SYSTEM_FILES:
        words += ["--ro-bind-try", file, file]
    return [*words, "--proc", "/proc", "--dev", "/dev"]


def _interpreter(interpreter: Interpreter) -> list[str]:
    words: list[str] = []
    for folder in interpreter.folders():
        words += [*_parents(folder), "--ro-bind", str(folder), str(folder)]
    return words


def _parents(path: Path) -> list[str]:
    """Make the folders above a mount; bubblewrap itself would close them to everybody but root."""
    above = [str(parent) for parent in reversed(path.parents[:-1])]
    return [word for parent in above for word in ("--perms", "0755", "--dir", parent)]


def _writable() -> list[str]:
    sizes = {"/dev/shm": 16 * MIB, "/tmp": 64 * MIB, _HOME: 16 * MIB, WORK_FOLDER: 64 * MIB}  # noqa: S108 - its own
    # Writable for everybody: the script may be run as a stranger.
    return [
        word
        for path, size in sizes.items()
        for word in (*_parents(Path(path)), "--perms", "1777", "--size", str(size), "--tmpfs", path)
    ]


def _limited(limits: ExecutionLimits) -> list[str]:
    # Set inside: outside, the user's other processes would count, and bubblewrap itself could not start.
    return [
        "prlimit",
        f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds + 1}",
        f"--as={limits.address_space_bytes}",
        f"--fsize={limits.file_bytes}",
        f"--nproc={limits.processes}",
        f"--nofile={limits.open_files}",
        "--core=0",
        "--memlock=65536",
        "--",
    ]


def _become(user: int) -> list[str]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--inh-caps=-all", "--"]
