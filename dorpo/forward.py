"""From a batch to the two numbers per response token that the objective is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dorpo.batches import Batch
from dorpo.chunked_head import chunked_topk_kl_and_logps
from dorpo.head import head_of
from dorpo.reading import Way, quick_way
from dorpo.sharing import shared_states
from dorpo.tree import tree_states


def bare(model: Any) -> PreTrainedModel:
    """The language model inside a `PeftModel`: its layers keep their adapters, the wrapper adds nothing."""
    inside: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inside


def token_scores(model: Any, batch: Batch, *, way: Way | None = None) -> tuple[Tensor, Tensor]:
    """KL to the teacher and log-probability of every response token.

    Args:
        model: A causal language model, with adapters or without.
        batch: N response tokens.
        way: How the texts are read; without it, one that the model's structure makes exact.

    Returns:
        (KL [N], log q [N]) in nats, see `dorpo.loss.topk_kl_and_logps`.
    """
    student = bare(model)
    way = way or quick_way(student)
    states = response_states(student, batch, way)
    if way is Way.SEPARATE:
        return head_scores(student, states, batch)
    scored = batch["scored"]
    return spread(*head_scores(student, states[scored], batch, scored), batch)


def response_states(model: PreTrainedModel, batch: Batch, way: Way | None = None) -> Tensor:
    """The hidden state that predicts each response token, [N, H], in the order of `batch["target"]`.

    Args:
        model: A causal language model, without a wrapper around it.
        batch: N response tokens.
        way: See `token_scores`.
    """
    match way or quick_way(model):
        case Way.KV:
            return shared_states(model, batch)
        case Way.TREE | Way.FLEX:
            return tree_states(model, batch)
        case Way.SEPARATE:
            return separate_states(model, batch)


def head_scores(
    model: PreTrainedModel, states: Tensor, batch: Batch, at: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same from the hidden states that predict the tokens, all or those at the indices `at`."""
    labels = (batch["target"], batch["topk_ids"], batch["topk_logps"], batch["topk_mask"])
    target, ids, logps, mask = labels if at is None else (tensor[at] for tensor in labels)
    return chunked_topk_kl_and_logps(states, head_of(model), target, ids, logps, mask)


def spread(kl: Tensor, logps: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The two numbers of every response token [N], from those of every different prediction [U].

    A rejected response that begins like the chosen one has its log-probabilities, but not its distance.
    """
    of_all = kl.new_zeros(batch["target"].shape).index_copy(0, batch["scored"], kl)
    return of_all, logps[batch["score_ids"]]


def separate_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """The hidden state that predicts each response token, each response behind its own copy of the prompt.

    The plain way, which every model supports and the shared one is measured against.

    Args:
        model: A causal language model, without a wrapper around it.
        batch: S responses with N tokens in all.

    Returns:
        [N, H], in the order of `batch["target"]`.
    """
    texts = [_text(batch, seq) for seq in range(batch["seq_group"].shape[0])]
    longest = max(text.shape[0] for text in texts)
    input_ids = torch.zeros(len(texts), longest, dtype=torch.long, device=batch["input_ids"].device)
    attention = torch.zeros_like(input_ids)
    for row, text in enumerate(texts):
        input_ids[row, : text.shape[0]] = text
        attention[row, : text.shape[0]] = 1
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]  # of transformers
    states: Tensor = decoder(input_ids=input_ids, attention_mask=attention, use_cache=False).last_hidden_state
    return states[batch["seq_ids"], batch["position_ids"][batch["source"]]]


def _text(batch: Batch, seq: int) -> Tensor:
    """Prompt and response of one sequence, without its last token, which predicts nothing."""
    own = batch["source"][batch["seq_ids"] == seq]
    # The prompt is not interrupted, and its last token predicts the first of the response.
    prompt = torch.arange(int(own[0] - batch["position_ids"][own[0]]), int(own[0]), device=own.device)
    return batch["input_ids"][torch.cat([prompt, own])]
