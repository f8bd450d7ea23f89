"""When a teacher that failed is asked again: pure policy, no clock and no network."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Trouble(StrEnum):
    """What a failed call says of the next one."""

    BUSY = "busy"  # it wants to be asked less often
    FAILING = "failing"  # a fault of the server's own
    UNREACHABLE = "unreachable"  # nobody answers there
    BROKEN = "broken"  # the answer broke off: asking the whole question again may help
    LASTING = "lasting"  # asking again cannot help


_TRIES = {Trouble.BUSY: 5, Trouble.FAILING: 3, Trouble.UNREACHABLE: 2}


@frozen
class Patience:
    """How long a teacher is waited for.

    Attributes:
        idle_seconds: Without a single byte. Not for the embedded model, which says nothing while it reads.
        total_seconds: For one answer.
        first_wait: Seconds before a teacher that failed is asked again; doubled each time.
        longest_wait: The most that this grows to.
        longest_asked: The most that a teacher may ask for. Whoever wants more is left for the next teacher.
    """

    idle_seconds: float = 60.0
    total_seconds: float = 900.0
    first_wait: float = 1.0
    longest_wait: float = 30.0
    longest_asked: float = 300.0

    def pause(self, trouble: Trouble, failures: int, asked: float | None, chance: float) -> float | None:
        """Seconds to wait before asking again; None to give up.

        Args:
            trouble: How the last call failed.
            failures: Calls that failed in a row, the last one included.
            asked: What the teacher asked for (Retry-After), in seconds.
            chance: From 0 to 1, so that those who were turned away together do not return together.
        """
        if failures >= _TRIES.get(trouble, 1):
            return None
        if asked is not None:
            return asked if asked <= self.longest_asked else None
        wait = min(self.first_wait * 2.0 ** (failures - 1), self.longest_wait)
        return wait * (0.5 + 0.5 * chance)
