"""How much memory a training takes, estimated before its first step."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor, nn
from transformers import PreTrainedModel

from dorpo.align import hard
from dorpo.batches import Group, collate, to_device
from dorpo.chunked_head import CHUNK
from dorpo.forward import bare, response_states
from dorpo.reading import Way
from dorpo.trainer import DORPOTrainer

_PROBE_TOKENS = 128
# AdamW keeps two numbers for every weight, and the gradient is a third.
_NUMBERS_PER_WEIGHT = 3
# Logits, their float32 copy and the student's probabilities.
_HEAD_COPIES = 3


@frozen
class Memory:
    """What a training needs, in bytes, without what Python and its libraries take themselves.

    Attributes:
        weights: The student with its adapters.
        optimizer: Gradients and the optimizer's two moments.
        activations: What the backward pass needs of the texts that are read at once, and of the vocabulary.
        free: What the device has left; None where it does not say.
    """

    weights: int
    optimizer: int
    activations: int
    free: int | None

    @property
    def total(self) -> int:
        """What must be there, the student's own weights included."""
        return self.weights + self.optimizer + self.activations


def estimate(trainer: DORPOTrainer, groups: Sequence[Group]) -> Memory:
    """Add up what is known and measure what a token keeps, with a short text.

    Args:
        trainer: Before its training; the student is where it will be trained.
        groups: All that it will see.
    """
    student = bare(trainer.model)
    storages = [tensor.untyped_storage() for tensor in _weights(student)]
    weights = {storage.data_ptr(): storage.nbytes() for storage in storages}
    trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
    tokens = trainer.tokens_at_once(groups)
    checkpointing = bool(trainer.args.activation_checkpointing)
    head = CHUNK * student.config.get_text_config().vocab_size * 4 * _HEAD_COPIES
    return Memory(
        weights=sum(weights.values()),
        optimizer=trained * 4 * _NUMBERS_PER_WEIGHT,
        activations=round(bytes_per_token(student, checkpointing=checkpointing) * tokens) + head,
        free=free_bytes(trainer.args.device),
    )


def bytes_per_token(model: PreTrainedModel, *, checkpointing: bool = False) -> float:
    """What a forward pass keeps for the backward pass, for every token of a short text.

    Args:
        model: Left as it was.
        checkpointing: Whether activations will be computed again, which the Trainer only sees to later.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in _weights(model)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        # Held until the end, so that no other tensor gets the same place.
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    text = (0,) * _PROBE_TOKENS
    probe = Group(prompt=text, chosen=(0,), labels=hard((0,)), rejected=())
    batch = to_device(collate([probe]), next(model.parameters()).device)
    training, already = model.training, model.is_activation_checkpointing
    model.train()
    if checkpointing and not already:
        model.activation_checkpointing_enable()
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            states = response_states(model, batch, Way.SEPARATE)
        del states
    finally:
        model.train(training)
        if checkpointing and not already:
            model.activation_checkpointing_disable()  # type: ignore[no-untyped-call]  # of transformers
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / _PROBE_TOKENS


def free_bytes(device: torch.device) -> int | None:
    """What is left on a device, or None where it does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", ()):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _weights(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
