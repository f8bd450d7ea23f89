"""Whether a training fits into memory, and with low memory where it would not fit otherwise.

With low memory, texts are read in pieces and twice, see `dorpo.staged`: the same numbers in less memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from attrs import evolve, frozen
from transformers import PreTrainedModel

from dorpo.configuration import DORPOConfig
from dorpo.memory import Memory
from dorpo.probe import measured_obstacle
from dorpo.reading import Way, drops_out, obstacle
from dorpo.sizes import in_words

_log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Fit:
    """What was chosen, and why.

    Attributes:
        low_memory: Whether the training goes with low memory.
        memory: What it needs so.
        usual: What it would need without, if low memory was chosen for that; None otherwise.
        free: What the device has left beside the student, in bytes; None where it does not say.
        obstacle: What speaks against low memory, as a clause, where it would be needed; "" otherwise.
    """

    low_memory: bool
    memory: Memory
    usual: Memory | None = None
    free: int | None = None
    obstacle: str = ""

    @property
    def fits(self) -> bool:
        """Whether there is room enough; so it is where nobody knows."""
        return self.free is None or self.memory.missing <= self.free

    @property
    def room(self) -> int | None:
        """What `memory.total` may be, in bytes."""
        return None if self.free is None else self.free + self.memory.weights

    @property
    def reason(self) -> str:
        """A sentence without its end; "" where there is room and nothing was chosen for it."""
        room = in_words(self.room or 0)
        if self.usual is not None and self.fits:
            # How much longer: bench/train_throughput.py.
            return (
                f"It needs about {in_words(self.usual.total)}, and {room} are free: trains with low memory, "
                f"which needs about {in_words(self.memory.total)} and takes up to a third longer"
            )
        if self.fits:
            return ""
        even = " even with low memory" if self.low_memory else ""
        without = f", and low memory is not possible, because {self.obstacle}" if self.obstacle else ""
        return f"It needs about {in_words(self.memory.total)}{even}, but only {room} are free{without}"


def choose(
    wanted: bool | None,
    estimated: Callable[[bool], Memory],
    free: int | None,
    obstacle: Callable[[], str | None],
) -> Fit:
    """Take low memory where the training does not fit without, unless that is told.

    Args:
        wanted: Whether to train with low memory; None leaves it open.
        estimated: The need with low memory or without.
        free: What is left beside the student, in bytes; None if it is not known.
        obstacle: What speaks against low memory, as a clause; asked only where it is needed.
    """
    fit = Fit(low_memory=bool(wanted), memory=estimated(bool(wanted)), free=free)
    if not fit.fits and wanted is None:
        if against := obstacle():
            fit = evolve(fit, obstacle=against)
        else:
            fit = Fit(low_memory=True, memory=estimated(True), usual=fit.memory, free=free)
    if fit.reason:
        _log.info("%s.", fit.reason)
    return fit


def obstacle_to_low_memory(model: PreTrainedModel, args: DORPOConfig, *, checkpointing: bool) -> str | None:
    """What makes it impossible, as a clause; None if nothing does.

    Args:
        model: The student, without a wrapper around it.
        args: The arguments of the training.
        checkpointing: Whether activations will be computed again.
    """
    if args.prefix_sharing not in ("auto", "kv"):
        return f'prefix_sharing is "{args.prefix_sharing}"'
    if args.fp16:
        return "float16 scales its gradients"
    if drops_out(model):
        return "the model has dropout, and every text is read twice"
    structure = obstacle(model, Way.KV, args.device, checkpointing=checkpointing)
    return structure or measured_obstacle(model, Way.KV)
