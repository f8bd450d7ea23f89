"""Random models of three narrow layers, one for each kind of attention, and groups of random tokens."""

from __future__ import annotations

from typing import Any

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 1,
}
# Shorter than most texts.
WINDOW = 8


def make(name: str, attention: str = "sdpa", **options: Any) -> Any:
    """A model, the same every time."""
    import torch
    import transformers

    torch.manual_seed(0)
    options = {**SIZES, "attn_implementation": attention, **options}
    match name:
        case "llama":
            config: Any = transformers.LlamaConfig(**options)
        case "qwen2":
            config = transformers.Qwen2Config(**options)
        case "gemma3":
            kinds = ["sliding_attention", "full_attention", "sliding_attention"]
            config = transformers.Gemma3TextConfig(
                **options, head_dim=8, sliding_window=WINDOW, layer_types=kinds
            )
        case "mistral":  # windows everywhere
            config = transformers.MistralConfig(**options, sliding_window=WINDOW)
        case "mixtral":  # experts
            config = transformers.MixtralConfig(**options, num_local_experts=4)
        case "lfm2":  # layers without attention
            kinds = ["conv", "full_attention", "conv"]
            config = transformers.Lfm2Config(**options, layer_types=kinds)
        case "bloom":  # biases of the attention for positions
            config = transformers.BloomConfig(vocab_size=100, hidden_size=32, n_layer=2, n_head=4)
        case _:
            raise ValueError(name)
    return transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation=options["attn_implementation"]
    )


def group(prompt: int, *lengths: int, seed: int) -> Any:
    """A prompt, a chosen response and rejected ones, of these lengths."""
    import torch

    from dorpo.align import hard
    from dorpo.batches import Group

    generator = torch.Generator().manual_seed(seed)
    texts = [tuple(torch.randint(1, 100, (n,), generator=generator).tolist()) for n in (prompt, *lengths)]
    return Group(texts[0], texts[1], hard(texts[1]), tuple(texts[2:]))


def related(prompt: int, *responses: tuple[int, int, int], seed: int) -> Any:
    """A group whose responses have beginnings in common.

    Args:
        prompt: Tokens.
        responses: The chosen one first. Of each, how many tokens it has from the beginning of which response
            before it, and how many of its own: (response, tokens, own tokens).
        seed: Of the tokens.
    """
    from dorpo.align import hard
    from dorpo.batches import Group

    lengths = [own for *_, own in responses]
    alone = group(prompt, *lengths, seed=seed)
    texts: list[tuple[int, ...]] = []
    for (other, common, _), own in zip(responses, (alone.chosen, *alone.rejected), strict=True):
        texts.append((*texts[other][:common], *own) if common else own)
    return Group(alone.prompt, texts[0], hard(texts[0]), tuple(texts[1:]))


def gradients(model: Any) -> Any:
    """All of them in one row."""
    import torch

    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
