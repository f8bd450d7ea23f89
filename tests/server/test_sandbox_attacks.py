"""Scripts that try to get out of the sandbox, each from inside it."""

import asyncio
import sys
from pathlib import Path

import pytest

from precision_shaking.sape.execution import Backend, Execution, ExecutionLimits, execute
from precision_shaking.sape.vocabulary import Outcome

pytestmark = pytest.mark.sandbox

SYSCALL = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
def refused(done):
    assert done == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS), (done, ctypes.get_errno())
"""


async def attack(script: str, **options) -> Execution:
    return await execute(script, backend=Backend.BUBBLEWRAP, limits=ExecutionLimits(seconds=5), **options)


async def contained(script: str) -> None:
    """The script checks for itself that it achieved nothing."""
    result = await attack(script)
    assert result.outcome is Outcome.OK, result.output


async def test_a_secret_of_the_user_is_not_there(tmp_path):
    secret = tmp_path / "id_rsa"
    secret.write_text("canary")
    await contained(f"""
import os
hidden = [{str(secret)!r}, {str(secret.parent)!r}, {str(Path.home() / ".ssh")!r}]
for path in [*hidden, "/etc/shadow", "/var", "/sys", "/run"]:
    assert not os.path.exists(path), path
    assert not os.path.exists("/proc/1/root" + path), path
try:
    os.symlink({str(secret)!r}, "link")
    open("link")
except FileNotFoundError:
    pass
""")


async def test_keys_of_the_environment_are_nowhere(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "canary")
    result = await attack("""
import glob, os
print(dict(os.environ))
for file in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    print(file)
    try:
        print(open(file).read())
    except PermissionError:
        pass
""")
    assert result.outcome is Outcome.OK
    assert "/proc/1/environ" in result.output
    assert "canary" not in result.output
    assert "API_KEY" not in result.output


async def test_a_server_on_this_machine_is_out_of_reach():
    visits: list[asyncio.StreamWriter] = []

    async def visit(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(writer)

    async with await asyncio.start_server(visit, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await attack(f"import socket\nsocket.create_connection(('127.0.0.1', {port}))")
    assert result.outcome is Outcome.SANDBOX_DENIED
    assert "network" in result.detail
    assert not visits


async def test_names_are_not_resolved():
    result = await attack("import socket\nsocket.getaddrinfo('example.org', 80)")
    assert result.outcome is Outcome.SANDBOX_DENIED


async def test_nothing_is_written_outside(tmp_path):
    places = [
        tmp_path,
        Path("/usr"),
        Path("/etc"),
        Path("/"),
        Path("/dev"),
        Path("/home"),
        Path(sys.prefix, "lib"),
    ]
    await contained(f"""
import os
for folder in {[str(place) for place in places]!r}:
    try:
        open(os.path.join(folder, "canary.txt"), "w")
    except OSError:
        continue
    raise SystemExit(folder)
""")
    assert not any((place / "canary.txt").exists() for place in places)


async def test_the_kernels_settings_cannot_be_written():
    # Bubblewrap leaves /proc/sys writable where it forbids user namespaces: for root, that is the machine.
    await contained("""
import os
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc":
        folders[:] = [name for name in folders if not name.isdigit()]
    for name in files:
        assert not os.access(os.path.join(folder, name), os.W_OK), (folder, name)
""")


async def test_deleting_everything_harms_nobody(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("kept")
    result = await attack("import shutil\nshutil.rmtree('/', ignore_errors=True)\nprint('gone')")
    assert result.outcome is not Outcome.SANDBOX_UNAVAILABLE
    assert kept.read_text() == "kept"


@pytest.mark.parametrize(
    "call",
    [
        "libc.unshare(0x10000000)",  # a user namespace of its own
        "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)",
        "libc.ptrace(16, 1, 0, 0)",
        "libc.syscall({'x86_64': 250, 'aarch64': 219}[__import__('os').uname().machine], 0, -3, 0)",  # keyctl
        "libc.ioctl(0, 0x5412, b'x')",  # typing into a terminal
        "libc.setns(0, 0)",
        "libc.syscall(425, 1, 0)",  # io_uring
        "libc.chroot(b'/tmp')",
    ],
)
async def test_the_kernel_refuses(call):
    await contained(f"{SYSCALL}\nrefused({call})")


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_NETLINK", "AF_PACKET", "AF_ALG"])
async def test_only_sockets_that_lead_nowhere_exist(family):
    await contained(f"""
import errno, socket
try:
    socket.socket(socket.{family}, socket.SOCK_RAW)
except OSError as error:
    assert error.errno == errno.EAFNOSUPPORT, error
else:
    raise SystemExit("open")
""")


async def test_our_descriptors_are_not_inherited(tmp_path):
    with (tmp_path / "open").open("w"):
        await contained("""
import os
left = [fd for fd in range(3, 256) if os.path.exists(f"/proc/self/fd/{fd}")]
assert not [fd for fd in left if not os.readlink(f"/proc/self/fd/{fd}").startswith("/proc")], left
""")


async def test_killing_everybody_kills_only_itself():
    result = await attack("""
import os
for pid in range(2, 300):
    try:
        os.kill(pid, 9) if pid != os.getpid() else None
    except OSError:
        pass
try:
    os.kill(-1, 9)
except ProcessLookupError:
    pass
print("alive")
""")
    assert (result.outcome, result.output) == (Outcome.OK, "alive\n")


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm", "/home/sandbox", "/script"])  # noqa: S108 - its own
async def test_memory_disks_are_bounded(place):
    result = await attack(f"""
for number in range(99):
    with open(f"{place}/{{number}}", "wb") as file:
        file.write(bytes(8 << 20))
""")
    assert result.outcome is Outcome.LIMIT
    assert "disk" in result.detail


async def test_what_it_prints_cannot_touch_the_terminal():
    result = await attack(
        "import sys\nsys.stdout.buffer.write(b'\\x1b[31mred\\x1b[0m \\x1b]0;title\\x07\\xff\\x00\\x9b2Jok')"
    )
    assert result.output == "red \ufffd\ufffd2Jok"
