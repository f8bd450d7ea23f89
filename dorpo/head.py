"""The student's vocabulary head, taken out of the model so that only response tokens meet it."""

from __future__ import annotations

import torch
from attrs import frozen
from torch import Tensor
from transformers import PreTrainedModel


@frozen(eq=False)
class Head:
    """What turns hidden states into logits.

    Attributes:
        weight: [V, H].
        bias: [V], or None.
        scale: Factor on the logits.
        softcap: Logits are squeezed into ±softcap by a hyperbolic tangent; None leaves them.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [N, V] of hidden states [N, H], in the precision of the head."""
        logits = torch.nn.functional.linear(hidden.to(self.weight.dtype), self.weight, self.bias)
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits

    def slope(self, logits: Tensor) -> Tensor | float:
        """The derivative of each logit with respect to the linear layer's output, from the logits [N, V]."""
        if self.softcap is None:
            return self.scale
        return self.scale * (1 - (logits / self.softcap) ** 2)


def head_of(model: PreTrainedModel) -> Head:
    """The head of a causal language model, with what its architecture does to logits.

    Raises:
        TypeError: The model has no vocabulary head.
    """
    output = model.get_output_embeddings()  # type: ignore[no-untyped-call]  # of transformers
    if output is None:
        raise TypeError(f"{type(model).__name__} has no vocabulary head to train.")
    config = model.config
    scale = 1.0
    if (factor := getattr(config, "logit_scale", None)) is not None:
        scale = float(factor)
    elif (divisor := getattr(config, "logits_scaling", None)) is not None:
        scale = 1.0 / float(divisor)
    softcap = getattr(config, "final_logit_softcapping", None)
    return Head(output.weight, getattr(output, "bias", None), scale, softcap)
