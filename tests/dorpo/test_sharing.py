"""Prompts read once give what separate forward passes give, numbers and gradients."""

from __future__ import annotations

import pytest
import torch

from dorpo.align import hard
from dorpo.batches import Group, collate
from dorpo.forward import separate_states, token_scores
from dorpo.loss import LossOptions, dorpo_loss
from dorpo.sharing import can_share, shared_states
from dorpo.staged import staged_backward
from dorpo.student import LoraSettings, add_adapters

pytestmark = pytest.mark.train

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}


def make(name, attention="sdpa"):
    import transformers

    torch.manual_seed(0)
    options = {**SIZES, "attn_implementation": attention}
    match name:
        case "llama":
            config = transformers.LlamaConfig(**options)
        case "qwen2":
            config = transformers.Qwen2Config(**options)
        case "gemma3":
            # Its window is shorter than the prompts, and its layers alternate.
            config = transformers.Gemma3TextConfig(
                **options,
                head_dim=8,
                sliding_window=8,
                layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            )
    return transformers.AutoModelForCausalLM.from_config(config)


def group(prompt, *lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    texts = [tuple(torch.randint(1, 100, (n,), generator=generator).tolist()) for n in (prompt, *lengths)]
    return Group(texts[0], texts[1], hard(texts[1]), tuple(texts[2:]))


BATCH = [group(20, 17, 25, 9, seed=1), group(5, 1, 30, seed=2), group(12, 4, seed=3), group(3, 1, 1, seed=4)]


def slopes(model, states):
    torch.manual_seed(5)
    model.zero_grad()
    (states * torch.randn_like(states)).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma3"])
def test_shared_prompts_change_neither_states_nor_gradients(name, attention):
    model = make(name, attention).train()
    batch = collate(BATCH)
    assert can_share(model)
    separate, shared = separate_states(model, batch), shared_states(model, batch)
    torch.testing.assert_close(shared, separate, atol=2e-5, rtol=1e-4)
    expected, ours = slopes(model, separate), slopes(model, shared)
    assert (ours - expected).norm() / expected.norm() < 1e-5


def test_adapters_get_the_same_gradients():
    model = add_adapters(make("llama"), LoraSettings())
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = collate(BATCH)
    gradients = []
    for share in (True, False):
        model.zero_grad()
        kl, logps = token_scores(model, batch, share=share)
        (kl - logps).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert (gradients[0] - gradients[1]).norm() / gradients[1].norm() < 1e-5


def test_a_batch_is_the_sum_of_its_groups():
    model = make("llama")
    together = separate_states(model, collate(BATCH))
    one_by_one = torch.cat([separate_states(model, collate([member])) for member in BATCH])
    torch.testing.assert_close(together, one_by_one, atol=2e-5, rtol=1e-4)


def test_checkpointing_is_not_shared_because_it_drops_the_cache():
    model = make("llama").train()
    model.activation_checkpointing_enable()
    assert not can_share(model)
    batch = collate(BATCH)
    kl, _ = token_scores(model, batch)
    kl.sum().backward()
    plain = make("llama").train()
    expected, _ = token_scores(plain, batch, share=False)
    expected.sum().backward()
    torch.testing.assert_close(kl, expected, atol=1e-5, rtol=1e-5)


def test_layers_without_attention_are_not_shared():
    from transformers import AutoModelForCausalLM, Lfm2Config

    config = Lfm2Config(**{**SIZES, "num_hidden_layers": 2}, layer_types=["conv", "full_attention"])
    assert not can_share(AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_stages_add_the_gradients_of_the_whole_batch(name, low_memory):
    batch = collate(BATCH)
    options = LossOptions(beta=0.5, kd_alpha=0.7)
    whole, staged = make(name), make(name)
    expected = dorpo_loss(*token_scores(whole, batch, share=False), batch, options)
    expected.loss.backward()
    result = staged_backward(staged, batch, options, low_memory=low_memory)
    torch.testing.assert_close(result.loss, expected.loss, atol=1e-5, rtol=1e-5)
    ours, theirs = (
        torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        for model in (staged, whole)
    )
    assert (ours - theirs).norm() / theirs.norm() < 1e-5
