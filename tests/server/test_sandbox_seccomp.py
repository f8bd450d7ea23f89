"""The system call filter, run by a small machine that follows the kernel's rules for such programs."""

import errno
import struct

import pytest

from precision_shaking.sape.sandbox.seccomp import seccomp_program

ALLOW, KILL = 0x7FFF0000, 0x80000000
X86, ARM = 0xC000003E, 0xC00000B7
MACHINES = [("x86_64", X86), ("aarch64", ARM)]


def run(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    data = struct.pack("<iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("<HBBI", program))
    accumulator = place = 0
    while True:
        kind, yes, no, value = code[place]
        place += 1
        match kind:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, value)[0]
            case 0x06:
                return value
            case 0x15:
                place += yes if accumulator == value else no
            case 0x35:
                place += yes if accumulator >= value else no
            case 0x45:
                place += yes if accumulator & value else no
            case _:
                raise AssertionError(kind)


def refusal(number: int) -> int:
    return 0x00050000 | number


def test_a_machine_of_another_kind_gets_no_filter():
    assert seccomp_program("riscv64") is None


@pytest.mark.parametrize(("machine", "architecture"), MACHINES)
def test_it_is_small_and_every_jump_lands_inside(machine, architecture):
    program = seccomp_program(machine)
    code = list(struct.iter_unpack("<HBBI", program))
    assert len(code) < 200
    assert all(place + 1 + max(yes, no) < len(code) for place, (_, yes, no, _) in enumerate(code[:-1]))
    assert run(program, architecture ^ 1, 0) == KILL


@pytest.mark.parametrize(
    ("machine", "architecture", "calls"),
    [
        (
            "x86_64",
            X86,
            {"ptrace": 101, "keyctl": 250, "unshare": 272, "mount": 165, "bpf": 321, "iopl": 172},
        ),
        ("aarch64", ARM, {"ptrace": 117, "keyctl": 219, "unshare": 97, "mount": 40, "bpf": 280}),
    ],
)
def test_calls_are_refused(machine, architecture, calls):
    program = seccomp_program(machine)
    for name, number in calls.items():
        assert run(program, architecture, number) == refusal(errno.EPERM), name
    assert run(program, architecture, 435) == refusal(errno.ENOSYS)  # clone3


@pytest.mark.parametrize(
    ("machine", "architecture", "calls"),
    [
        ("x86_64", X86, {"read": 0, "mmap": 9, "execve": 59, "futex": 202, "openat": 257}),
        ("aarch64", ARM, {"read": 63, "mmap": 222, "execve": 221, "futex": 98, "openat": 56}),
    ],
)
def test_everyday_calls_are_allowed(machine, architecture, calls):
    program = seccomp_program(machine)
    for name, number in calls.items():
        assert run(program, architecture, number) == ALLOW, name


@pytest.mark.parametrize(
    ("machine", "architecture", "socket", "clone", "ioctl"),
    [("x86_64", X86, 41, 56, 16), ("aarch64", ARM, 198, 220, 29)],
)
def test_arguments_are_looked_at(machine, architecture, socket, clone, ioctl):
    program = seccomp_program(machine)
    for family in range(64):
        expected = ALLOW if family in (1, 2, 10) else refusal(errno.EAFNOSUPPORT)
        assert run(program, architecture, socket, family) == expected, family
    assert run(program, architecture, clone, 0x3D0F00) == ALLOW  # a thread
    assert run(program, architecture, clone, 17) == ALLOW  # a process
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(program, architecture, clone, flag | 17) == refusal(errno.EPERM), hex(flag)
    assert run(program, architecture, ioctl, 0, 0x5401) == ALLOW
    for request in (0x5412, 0x541C, 0x1_0000_5412):  # the kernel looks at 32 bits
        assert run(program, architecture, ioctl, 0, request) == refusal(errno.EPERM)


def test_the_second_calling_convention_of_x86_is_closed():
    assert run(seccomp_program("x86_64"), X86, 0x40000000 | 101) == refusal(errno.ENOSYS)
