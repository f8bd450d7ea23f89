"""How much a script may use."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import gt

MIB = 1024**2


@frozen
class ExecutionLimits:
    """Bounds of one execution.

    Attributes:
        seconds: Wall-clock time.
        cpu_seconds: Processor time of each process, all its threads together.
        memory_bytes: Resident memory of the script and everything it starts, together.
        output_bytes: Output that is kept; of more, the beginning and the end are kept.
        processes: Processes and threads alive at once.
    """

    seconds: float = field(default=10.0, validator=gt(0))
    cpu_seconds: int = field(default=20, validator=gt(0))
    memory_bytes: int = field(default=1536 * MIB, validator=gt(0))
    output_bytes: int = field(default=64 * 1024, validator=gt(0))
    processes: int = field(default=64, validator=gt(0))

    @property
    def address_space_bytes(self) -> int:
        """Address space of each process: threads and numpy reserve far more than they use."""
        return 2 * self.memory_bytes + 1024 * MIB

    @property
    def flood_bytes(self) -> int:
        """Output after which the script is stopped (8 MiB with the default)."""
        return 128 * self.output_bytes

    @property
    def file_bytes(self) -> int:
        """Size of any one file the script writes."""
        return 32 * MIB

    @property
    def open_files(self) -> int:
        """File descriptors of each process."""
        return 256
