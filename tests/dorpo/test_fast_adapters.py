"""Adapted layers that compute in one go have the numbers and gradients of PEFT's, or are left alone."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import gradients, make

from dorpo.fast_adapters import fast_adapters

pytestmark = pytest.mark.train

IDS = torch.arange(1, 41).reshape(2, 20)


def adapted(name="llama", **options):
    """A model with adapters that do something: fresh ones are zero."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": "all-linear", **options})
    model = get_peft_model(make(name), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def replaced(model):
    return [type(module).__name__ for module in model.modules() if "forward" in vars(module)]


def states_and_gradients(model):
    model.zero_grad()
    states = model.get_base_model().get_decoder()(input_ids=IDS).last_hidden_state
    torch.manual_seed(5)
    (states * torch.randn_like(states)).sum().backward()
    return states.detach(), gradients(model)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "mistral"])
def test_numbers_and_gradients_are_those_of_peft(name):
    model = adapted(name)
    expected, slopes = states_and_gradients(model)
    with fast_adapters(model):
        assert any(kind.endswith("MLP") for kind in replaced(model))
        states, ours = states_and_gradients(model)
    assert replaced(model) == []
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    assert (ours - slopes).norm() / slopes.norm() < 1e-5


def test_fewer_numbers_wait_for_the_backward_pass():
    model = adapted()
    plain = _waiting(model)
    with fast_adapters(model):
        assert _waiting(model) < 0.8 * plain


def _waiting(model):
    """Numbers that a graph holds, those of one storage counted once."""
    held = {}

    def pack(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = model.get_base_model().get_decoder()(input_ids=IDS).last_hidden_state
        frozen = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        assert states.requires_grad
        return sum(tensor.numel() for place, tensor in held.items() if place not in frozen)


@pytest.mark.parametrize(
    "options", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}, {"bias": "all"}]
)
def test_other_adapters_stay_as_they_are(options):
    # These layers have a bias, which the last two concern.
    model = adapted("qwen2", target_modules=["q_proj"], **options)
    with fast_adapters(model):
        assert replaced(model) == []


def test_a_disabled_or_merged_adapter_is_left_alone():
    model = adapted()
    with model.disable_adapter(), fast_adapters(model):
        assert replaced(model) == []
    model.merge_adapter()
    with fast_adapters(model):
        assert replaced(model) == []


def test_under_autocast_nothing_is_replaced():
    model = adapted()
    with torch.autocast("cpu", dtype=torch.bfloat16), fast_adapters(model):
        assert replaced(model) == []


def test_a_block_of_another_kind_keeps_its_forward_pass():
    model = adapted("mixtral", target_modules=["q_proj", "v_proj"])
    with fast_adapters(model):
        assert set(replaced(model)) == {"Linear"}
