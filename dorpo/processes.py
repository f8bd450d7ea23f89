"""One training in several processes, as `torchrun` and `accelerate launch` start it. Alone, nothing happens.

The student's decoder is called past the wrapper that would exchange gradients, because a group is read in
parts. So the gradients are added up here, once in an optimizer step.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from torch import Tensor, distributed

T = TypeVar("T")

# Numbers that travel at once: enough to keep a line busy, little beside a model.
_BUCKET = 1 << 24


def count() -> int:
    """How many there are."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def rank() -> int:
    """Which one this is, from 0."""
    return distributed.get_rank() if count() > 1 else 0


def gathered(value: T) -> list[T]:
    """The small value that every process has, in the order of their ranks. All of them must call it."""
    if count() == 1:
        return [value]
    values: list[T] = [value] * count()
    distributed.all_gather_object(values, value)
    return values


def join(device: str) -> None:
    """Meet the other processes, if there are some, and take a device of one's own.

    Args:
        device: The kind of device, as `torch.device` names it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        PartialState(cpu=device == "cpu")


def leave() -> None:
    """Say good-bye to the others, once all is done."""
    if count() > 1:
        distributed.destroy_process_group()


@torch.no_grad()
def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Give every process the sum of all gradients. All of them must call it, with the same weights.

    A process that had no group in the step takes part with zeros.
    """
    if count() == 1:
        return
    for bucket in _buckets(weight for weight in weights if weight.requires_grad):
        for weight in bucket:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        slopes = [weight.grad for weight in bucket if weight.grad is not None]
        flat = torch.cat([slope.flatten() for slope in slopes])
        distributed.all_reduce(flat)
        sizes = [slope.numel() for slope in slopes]
        for slope, total in zip(slopes, torch.split(flat, sizes), strict=True):
            slope.copy_(total.view_as(slope))


def _buckets(weights: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """In their order, of one type each."""
    bucket: list[Tensor] = []
    held = 0
    for weight in weights:
        full = held + weight.numel() > _BUCKET
        if bucket and (full or weight.dtype != bucket[0].dtype):
            yield bucket
            bucket, held = [], 0
        bucket.append(weight)
        held += weight.numel()
    if bucket:
        yield bucket
