"""Adapted layers that write and keep less, with the same numbers and gradients.

An adapted linear layer computes y = W x + b + s B (A x). Done one operation after the other, as PEFT does it,
each layer writes two more tensors of the size of its output, and its backward pass two more. Here the
low-rank products are added while they are computed. With g = dL/dy the slopes are

    dL/dx = Wᵀg + Aᵀ v        dL/dA = v xᵀ        dL/dB = s g (A x)ᵀ        v = s Bᵀg

A gated feed-forward block, y = down(act(gate) · up), keeps four tensors of its inner width for the backward
pass, the widest of a model. Two of them are products of the others and quickly made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn.functional import linear

# Of transformers, with this forward pass; a block of another name is left as it is.
_GATED = {
    f"{name}MLP" for name in ("Gemma", "Gemma2", "Gemma3", "Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3")
}


@contextmanager
def fast_adapters(model: nn.Module) -> Iterator[None]:
    """Let a model's plain adapters compute in one go; others, and the model afterwards, stay as they are.

    Under autocast, where precisions meet within a layer, nothing is replaced.
    """
    autocast = torch.is_autocast_enabled(next(model.parameters()).device.type)
    replaced = [] if autocast else list(_replaceable(model))
    for module, forward in replaced:
        module.forward = partial(forward, module)
    try:
        yield
    finally:
        for module, _ in replaced:
            del module.forward


def is_plain(module: Any) -> bool:
    """Whether a module is a frozen linear layer with one ordinary adapter, all in one precision."""
    if type(module) is not Linear or module.disable_adapters or module.merged:
        return False
    base, names = module.get_base_layer(), module.active_adapters
    if type(base) is not nn.Linear or len(names) != 1 or names[0] not in module.lora_A:
        return False
    (name,) = names
    low: Any = module.lora_A[name]
    high: Any = module.lora_B[name]
    return (
        not any(parameter.requires_grad for parameter in base.parameters())
        and name not in module.lora_variant
        and isinstance(module.lora_dropout[name], nn.Identity)
        and high.bias is None
        and base.weight.dtype == low.weight.dtype == high.weight.dtype
    )


def _replaceable(model: nn.Module) -> Iterator[tuple[nn.Module, Callable[..., Tensor]]]:
    for module in model.modules():
        if is_plain(module):
            yield module, _adapted
        elif type(module).__name__ in _GATED and is_plain(module.down_proj):
            yield module, _gated


def _adapted(layer: Any, x: Tensor) -> Tensor:
    result: Tensor = _Adapted.apply(x, *_parts(layer))  # type: ignore[no-untyped-call]  # of torch
    return result


def _gated(block: Any, x: Tensor) -> Tensor:
    inner = block.gate_proj(x), block.up_proj(x)
    result: Tensor = _Gated.apply(*inner, block.act_fn, *_parts(block.down_proj))  # type: ignore[no-untyped-call]
    return result


def _parts(layer: Any) -> tuple[Any, ...]:
    """Weight, bias, A, B and s of a plain adapted layer."""
    (name,) = layer.active_adapters
    base = layer.get_base_layer()
    return base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]


class _Adapted(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, low: Tensor, high: Tensor, scale: float
    ) -> Tensor:
        result, within = _project(x, weight, bias, low, high, scale)
        ctx.save_for_backward(x, within, weight, low, high)
        ctx.scale = scale
        return result

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[0]
        of_x, of_low, of_high = _slopes(slope, *ctx.saved_tensors, scale=ctx.scale, wanted=wanted)
        return of_x, None, None, of_low, of_high, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gate: Tensor,
        up: Tensor,
        act: Callable[[Tensor], Tensor],
        weight: Tensor,
        bias: Tensor | None,
        low: Tensor,
        high: Tensor,
        scale: float,
    ) -> Tensor:
        result, within = _project(act(gate).mul_(up), weight, bias, low, high, scale)
        ctx.save_for_backward(gate, up, within, weight, low, high)
        ctx.act, ctx.scale = act, scale
        return result

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        *saved, within, weight, low, high = ctx.saved_tensors
        gate, up = (tensor.detach().requires_grad_() for tensor in saved)
        with torch.enable_grad():
            x = ctx.act(gate) * up
        tensors = (x.detach(), within, weight, low, high)
        of_x, of_low, of_high = _slopes(slope, *tensors, scale=ctx.scale, wanted=True)
        of_gate, of_up = torch.autograd.grad(x, (gate, up), of_x)
        return of_gate, of_up, None, None, None, of_low, of_high, None


def _project(
    x: Tensor, weight: Tensor, bias: Tensor | None, low: Tensor, high: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """The layer's output [..., out] and A x [n, r] of inputs [..., in]."""
    rows = x.reshape(-1, x.shape[-1])
    within = rows @ low.t()
    result = linear(rows, weight, bias).addmm_(within, high.t(), alpha=scale)
    return result.view(*x.shape[:-1], -1), within


def _slopes(
    slope: Tensor,
    x: Tensor,
    within: Tensor,
    weight: Tensor,
    low: Tensor,
    high: Tensor,
    *,
    scale: float,
    wanted: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Of the input, if wanted, of A and of B."""
    rows = slope.reshape(-1, slope.shape[-1])
    through = (rows @ high).mul_(scale)
    of_low = through.t() @ x.reshape(-1, x.shape[-1])
    of_high = (rows.t() @ within).mul_(scale)
    of_x = (rows @ weight).addmm_(through, low).view_as(x) if wanted else None
    return of_x, of_low, of_high
