"""A system call filter as the kernel takes it: which doors of the kernel a script may not even knock on.

Namespaces do not cover the kernel's keyrings, virtual machine sockets, tracing, or the code behind calls that
are rarely used. The format is classic BPF over `struct seccomp_data`: see seccomp(2) and `linux/filter.h`.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct

from attrs import frozen

# Instruction codes: load a word, compare, test bits, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
# Places in struct seccomp_data; of an argument the low half, both machines are little-endian.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
_X32 = 0x40000000
# New mount, cgroup, host name, IPC, user, pid and network namespaces.
_NEW_NAMESPACES = 0x7E020000
# Typing into the terminal the program was started from.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)

# Name: number on x86-64, number on arm64.
_REFUSED = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # keys
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # machinery with a long history of holes
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # the machine itself
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "vhangup": (153, 58),
    "personality": (135, 92),
}
# x86 only: I/O ports and segment descriptors.
_REFUSED_X86 = (172, 173, 154)  # iopl, ioperm, modify_ldt


@frozen
class _Architecture:
    audit: int
    column: int
    socket: int
    clone: int
    clone3: int
    ioctl: int


_ARCHITECTURES = {
    "x86_64": _Architecture(0xC000003E, 0, socket=41, clone=56, clone3=435, ioctl=16),
    "aarch64": _Architecture(0xC00000B7, 1, socket=198, clone=220, clone3=435, ioctl=29),
}

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


def seccomp_program(machine: str | None = None) -> bytes | None:
    """Return the filter, an array of `struct sock_filter`.

    Args:
        machine: As `platform.machine()` says it, which is the default.

    Returns:
        None for a machine whose system call numbers are not known here.
    """
    architecture = _ARCHITECTURES.get(machine or platform.machine())
    if architecture is None:
        return None
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture.audit),
        _give(_KILL),
        (_LOAD, 0, 0, _NUMBER),
        *_refused_calls(architecture),
        *_refused_arguments(architecture),
        _give(_ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _refused_calls(architecture: _Architecture) -> list[_Instruction]:
    numbers = [numbers[architecture.column] for numbers in _REFUSED.values()]
    program: list[_Instruction] = []
    if architecture.column == 0:
        numbers += _REFUSED_X86
        program += [(_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    for number in sorted(numbers):
        program += _when(number, _refuse(errno.EPERM))
    # Its arguments are behind a pointer, where a filter cannot look; the C library then takes the older call.
    return program + _when(architecture.clone3, _refuse(errno.ENOSYS))


def _refused_arguments(architecture: _Architecture) -> list[_Instruction]:
    clone: list[_Instruction] = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        _refuse(errno.EPERM),
        _give(_ALLOW),
    ]
    ioctl: list[_Instruction] = [
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_EQUAL, 1, 0, _TIOCSTI),
        (_EQUAL, 0, 1, _TIOCLINUX),
        _refuse(errno.EPERM),
        _give(_ALLOW),
    ]
    # Local and internet sockets lead nowhere from an empty network namespace; other families ignore it.
    families: list[_Instruction] = [
        (_EQUAL, len(_FAMILIES) - place, 0, family) for place, family in enumerate(_FAMILIES)
    ]
    sockets: list[_Instruction] = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *families,
        _refuse(errno.EAFNOSUPPORT),
        _give(_ALLOW),
    ]
    return [
        *_when(architecture.clone, *clone),
        *_when(architecture.ioctl, *ioctl),
        *_when(architecture.socket, *sockets),
    ]


def _when(number: int, *body: _Instruction) -> list[_Instruction]:
    """Run the body, which has to return, for this system call, and go on behind it for any other."""
    return [(_EQUAL, 0, len(body), number), *body]


def _give(action: int) -> _Instruction:
    return (_RETURN, 0, 0, action)


def _refuse(error: int) -> _Instruction:
    return _give(0x00050000 | error)
