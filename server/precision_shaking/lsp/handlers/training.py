"""Training the student: one long request with progress, which cancelling ends gently."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dorpo import sizes
from dorpo.durations import in_words
from precision_shaking.lsp import protocol
from precision_shaking.lsp.progress import Bar, progress
from precision_shaking.lsp.rpc import CANCELLED_BY_CLIENT, RefusedError, request
from precision_shaking.lsp.server import Server

if TYPE_CHECKING:
    from precision_shaking.lsp.trainer import Trainer

logger = logging.getLogger(__name__)

# The trainer's exit status after it was interrupted and has saved.
_CANCELLED = 130


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.START_TRAINING, protocol.StartTrainingParams)
    async def start(params: protocol.StartTrainingParams) -> protocol.StartTrainingResult:
        return await train(server, params)

    @request(server, protocol.MAKE_WORKER, protocol.MakeWorkerParams)
    async def worker(params: protocol.MakeWorkerParams) -> protocol.MakeWorkerResult:
        return await make_worker(server, params)


async def train(server: Server, params: protocol.StartTrainingParams) -> protocol.StartTrainingResult:
    """Train until the trainer has ended.

    Raises:
        RefusedError: A training is running already, or the trainer could not do it and says why.
    """
    from dorpo.paths import home
    from precision_shaking.lsp.trainer import Trainer

    trainer = Trainer.start(await server.settings_now(), home())
    async with progress(server, "Training the student", params.work_done_token, trainer.interrupt) as bar:
        listening = asyncio.create_task(_listen(trainer, bar))
        try:
            last = await asyncio.shield(listening)
        except asyncio.CancelledError as cancelled:
            if cancelled.args != (CANCELLED_BY_CLIENT,):
                # The editor is going; the trainer goes on without it.
                listening.cancel()
                raise
            trainer.interrupt()
            bar.report("Saving what was learned")
            last = await listening
    result = _result(trainer, last)
    # Where it is in full: a notification has room for the folder's name alone.
    logger.info("The training is %s; its folder is %s", result.status, result.output)
    return result


async def make_worker(server: Server, params: protocol.MakeWorkerParams) -> protocol.MakeWorkerResult:
    """Make a model that the worker can ask of what a training learned.

    Raises:
        RefusedError: There is none, or it cannot be made.
    """
    from dorpo.paths import home
    from precision_shaking.lsp import own_model

    training = Path(params.training) if params.training else own_model.last_training(home())
    making = asyncio.ensure_future(own_model.make(training, home()))
    title = "Making your model ready to work"
    async with progress(server, title, params.work_done_token, making.cancel, measured=False):
        try:
            return protocol.MakeWorkerResult(await making)
        except asyncio.CancelledError as cancelled:
            if cancelled.args:
                raise
            # By the progress, whose request still waits for an answer.
            raise RefusedError("Cancelled: no model was made.") from None


async def _listen(trainer: Trainer, bar: Bar) -> dict[str, Any]:
    """Show how far the trainer is; the last thing it said."""
    last: dict[str, Any] = {}
    async for message in trainer.messages():
        last = message
        match message.get("kind"):
            case "training_started":
                _announce(bar, message)
            case "training_progress":
                _show(bar, message)
    return last


def _announce(bar: Bar, message: dict[str, Any]) -> None:
    """What it will take, before the first step; where memory decides something, that."""
    seconds, size = message.get("estimate_seconds"), message.get("estimate_bytes")
    if advice := message.get("advice"):
        logger.info("%s", advice)
        bar.report(str(advice), 0)
    elif isinstance(seconds, int | float) and isinstance(size, int):
        bar.report(f"about {in_words(seconds)} and {sizes.in_words(size)} of memory", 0)


def _show(bar: Bar, message: dict[str, Any]) -> None:
    step, steps = message.get("step", 0), message.get("steps", 0)
    parts = [f"step {step} of {steps}"]
    if isinstance(loss := message.get("loss"), float):
        parts.append(f"loss {loss:.3f}")
    if isinstance(distance := message.get("kl"), float):
        parts.append(f"KL {distance:.3f}")
    if isinstance(eta := message.get("eta_seconds"), int | float):
        parts.append(f"{in_words(eta)} left")
    bar.report(", ".join(parts), min(100, 100 * step // steps) if steps else None)


def _result(trainer: Trainer, last: dict[str, Any]) -> protocol.StartTrainingResult:
    output = str(trainer.output)
    if trainer.exit_code == 0 and last.get("kind") == "training_finished":
        return protocol.StartTrainingResult("finished", output, last.get("metrics") or {})
    # Interrupted before it could listen to interrupts, it ends in another way, with nothing to save yet.
    if trainer.interrupted or trainer.exit_code == _CANCELLED:
        return protocol.StartTrainingResult("cancelled", output)
    if last.get("kind") == "training_failed":
        raise RefusedError(str(last.get("message")))
    raise RefusedError(trainer.complaint)
