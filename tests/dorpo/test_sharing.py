"""Beginnings read once give what separate forward passes give, numbers and gradients, in every way."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import gradients, group, make, related

from dorpo.align import hard
from dorpo.batches import Group, collate
from dorpo.forward import bare, response_states, separate_states, token_scores
from dorpo.loss import LossOptions, dorpo_loss, topk_kl_and_logps
from dorpo.reading import Way
from dorpo.staged import staged_backward
from dorpo.student import LoraSettings, add_adapters

pytestmark = pytest.mark.train

# Common beginnings of some responses, within others of these, and of all.
NESTED = related(9, (0, 0, 40), (0, 35, 25), (0, 0, 6), (1, 55, 20), (0, 17, 25), (4, 35, 3), seed=5)
ALIKE = related(4, (0, 0, 12), (0, 9, 20), (0, 9, 1), seed=6)
COMMON = 35 + 55 + 17 + 35 + 9 + 9
BATCH = [
    group(20, 17, 25, 9, seed=1),
    group(5, 1, 30, seed=2),
    group(12, 4, seed=3),
    group(3, 1, 1, seed=4),
    NESTED,
    ALIKE,
]
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


def test_separate_texts_are_the_texts_of_the_groups():
    model = make("llama")
    expected = []
    for member in BATCH:
        for response in (member.chosen, *member.rejected):
            text = torch.tensor([[*member.prompt, *response[:-1]]])
            expected.append(
                model.get_decoder()(input_ids=text).last_hidden_state[0, len(member.prompt) - 1 :]
            )
    states = separate_states(model, collate(BATCH))
    torch.testing.assert_close(states, torch.cat(expected), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("read", [*SHARED, "stages"])
def test_every_token_is_read_once(read):
    model, batch, sizes = make("llama"), collate(BATCH), []
    count = model.get_input_embeddings().register_forward_hook(
        lambda _m, inputs, _: sizes.append(inputs[0].numel())
    )
    if read == "stages":
        staged_backward(model, batch, LossOptions())
    else:
        token_scores(model, batch, way=read)
    count.remove()
    texts = sum(len(m.prompt) + sum(len(r) - 1 for r in (m.chosen, *m.rejected)) for m in BATCH)
    assert sum(sizes) == sum(member.tokens for member in BATCH) == texts - COMMON


@pytest.mark.parametrize("way", SHARED)
def test_the_vocabulary_head_gives_every_response_what_it_would_give_it_alone(way):
    model, batch = make("llama").double(), collate(BATCH)
    logits = model.lm_head(separate_states(model, batch))
    labels = (batch["topk_ids"], batch["topk_logps"], batch["topk_mask"])
    kl, logps = topk_kl_and_logps(logits, batch["target"], *labels)
    found = token_scores(model, batch, way=way)
    torch.testing.assert_close(found, (kl.float(), logps.float()), atol=1e-5, rtol=1e-5)
    assert len(batch["scored"]) == len(batch["target"]) - COMMON


LETTERS = st.lists(st.integers(1, 2), min_size=1, max_size=9)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(LETTERS, st.lists(LETTERS, min_size=1, max_size=5)), min_size=1, max_size=2),
    st.integers(1, 3),
)
def test_any_common_beginnings_change_neither_numbers_nor_gradients(texts, shortest):
    model, loss = make("gemma3", hidden_size=16).double(), LossOptions(beta=0.5, kd_alpha=0.7)
    batch = collate(
        [
            Group(tuple(prompt), tuple(chosen), hard(chosen), tuple(map(tuple, rejected)))
            for prompt, (chosen, *rejected) in texts
        ],
        shortest=shortest,
    )
    results = []
    for way in (Way.SEPARATE, *SHARED):
        model.zero_grad()
        result = dorpo_loss(*token_scores(model, batch, way=way), batch, loss)
        result.loss.backward()
        results.append((result.loss.detach(), gradients(model)))
    for low_memory in (False, True):
        model.zero_grad()
        loss_of_stages = staged_backward(model, batch, loss, low_memory=low_memory, piece=3).loss
        results.append((loss_of_stages.detach(), gradients(model)))
    (expected, slope), *others = results
    for found, other in others:
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert (other - slope).norm() / slope.norm() < 1e-5


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


def test_memory_does_not_grow_with_the_branches_of_a_branch():
    model = make("llama")
    few = related(40, (0, 0, 60), (0, 0, 30), (1, 20, 40), seed=1)
    many = related(40, (0, 0, 60), (0, 0, 30), *[(1, 20, 40)] * 6, (0, 30, 30), (0, 0, 70), seed=1)
    for options in ({}, {"low_memory": True, "piece": 10}):
        short, long = (_largest_graph(model, collate([member]), **options) for member in (few, many))
        assert long < 1.1 * short


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
