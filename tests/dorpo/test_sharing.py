"""Prompts read once give what separate forward passes give, numbers and gradients, in every way."""

from __future__ import annotations

import pytest
import torch
from tiny_models import gradients, group, make

from dorpo.batches import collate
from dorpo.forward import bare, response_states, separate_states, token_scores
from dorpo.loss import LossOptions, dorpo_loss
from dorpo.reading import Way
from dorpo.staged import staged_backward
from dorpo.student import LoraSettings, add_adapters

pytestmark = pytest.mark.train

BATCH = [group(20, 17, 25, 9, seed=1), group(5, 1, 30, seed=2), group(12, 4, seed=3), group(3, 1, 1, seed=4)]
SHARED = [Way.KV, Way.TREE]


def slopes(model, states):
    torch.manual_seed(5)
    model.zero_grad()
    (states * torch.randn_like(states)).sum().backward()
    return gradients(model)


def with_random_adapters(model):
    adapted = add_adapters(model, LoraSettings())
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return adapted


@pytest.mark.parametrize("way", SHARED)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "mistral", "mixtral"])
def test_shared_prompts_change_neither_states_nor_gradients(name, attention, way):
    model = make(name, attention).train()
    batch = collate(BATCH)
    separate, shared = separate_states(model, batch), response_states(model, batch, way)
    torch.testing.assert_close(shared, separate, atol=2e-5, rtol=1e-4)
    expected, ours = slopes(model, separate), slopes(model, shared)
    assert (ours - expected).norm() / expected.norm() < 1e-5


@pytest.mark.parametrize("way", SHARED)
def test_adapters_get_the_same_gradients(way):
    model = with_random_adapters(make("llama"))
    batch = collate(BATCH)
    found = []
    for taken in (way, Way.SEPARATE):
        model.zero_grad()
        kl, logps = token_scores(model, batch, way=taken)
        (kl - logps).sum().backward()
        found.append(gradients(model))
    assert (found[0] - found[1]).norm() / found[1].norm() < 1e-5


@pytest.mark.parametrize("way", [*SHARED, Way.SEPARATE])
def test_a_batch_is_the_sum_of_its_groups(way):
    model = make("llama")
    together = response_states(model, collate(BATCH), way)
    one_by_one = torch.cat([response_states(model, collate([member]), way) for member in BATCH])
    torch.testing.assert_close(together, one_by_one, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"low_memory": True}, {"low_memory": True, "piece": 7}])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3", "mistral"])
def test_stages_add_the_gradients_of_the_whole_batch(name, adapters, options):
    batch = collate(BATCH)
    loss = LossOptions(beta=0.5, kd_alpha=0.7)
    model = make(name)
    if adapters:
        model = with_random_adapters(model)
    expected = dorpo_loss(*token_scores(model, batch, way=Way.SEPARATE), batch, loss)
    expected.loss.backward()
    theirs = gradients(model)
    model.zero_grad()
    result = staged_backward(bare(model), batch, loss, **options)
    torch.testing.assert_close(result.loss, expected.loss, atol=1e-5, rtol=1e-5)
    assert (gradients(model) - theirs).norm() / theirs.norm() < 1e-5


def test_with_low_memory_only_one_piece_has_a_graph():
    model = make("llama")
    texts = [group(40, 30, *[30] * rejected, seed=1) for rejected in (1, 4)]
    short, long = (_largest_graph(model, collate([text]), low_memory=True, piece=10) for text in texts)
    assert long < 1.1 * short
    assert short < 0.35 * _largest_graph(model, collate(texts[:1]))


def _largest_graph(model, batch, **options):
    """The most numbers that are held for a backward pass at one time."""
    sizes, largest = {}, 0

    class Held:
        def __init__(self, tensor):
            nonlocal largest
            self.tensor = tensor
            sizes[id(self)] = tensor.numel()
            largest = max(largest, sum(sizes.values()))

        def __del__(self):
            sizes.pop(id(self), None)

    parameters = {parameter.data_ptr() for parameter in model.parameters()}

    def pack(tensor):
        return tensor if tensor.data_ptr() in parameters else Held(tensor)

    def unpack(held):
        return held.tensor if isinstance(held, Held) else held

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        staged_backward(model, batch, LossOptions(), **options)
    return largest
