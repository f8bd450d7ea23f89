"""Hidden states of the response tokens, with every prompt read once for all its responses.

A prompt's keys and values are all that a response sees of it, so they are computed once, with their graph,
and each response attends to them: the numbers and gradients are those of `dorpo.forward.separate_states`, at
the cost of the distinct tokens only. For pairs in one sequence, the idea is in arXiv 2410.20305.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from attrs import frozen
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel

from dorpo.batches import Batch


@frozen(eq=False)
class Prefix:
    """A prompt as its responses see it.

    Attributes:
        cache: Keys and values of every layer, for one text.
        last: Hidden state of the last prompt token [H], which predicts every response's first token.
        length: Tokens.
    """

    cache: DynamicCache
    last: Tensor
    length: int

    def repeated(self, times: int) -> DynamicCache:
        """A cache for several responses at once, to which they may add.

        Layers replace their tensors and never write into them, so new layers around the same tensors suffice.
        """
        twin = copy.copy(self.cache)
        twin.layers = [copy.copy(layer) for layer in self.cache.layers]
        if times > 1:
            twin.batch_repeat_interleave(times)
        return twin


def read_prompt(model: PreTrainedModel, ids: Tensor) -> Prefix:
    """Read a prompt [P]."""
    cache = DynamicCache(config=model.config)
    states = decoder(model)(input_ids=ids[None], cache=cache, use_cache=True)
    return Prefix(cache, states.last_hidden_state[0, -1], ids.shape[0])


def read_responses(model: PreTrainedModel, prefix: Prefix, responses: list[Tensor]) -> Tensor:
    """Read responses of one prompt side by side.

    Args:
        model: The student.
        prefix: Their prompt.
        responses: Their token ids, each of its own length.

    Returns:
        The hidden states that predict their tokens, one response after the other [sum of the lengths, H].
    """
    # The last token of a response predicts nothing.
    ids = pad_sequence([response[:-1] for response in responses], batch_first=True)
    first = prefix.last[None]
    if ids.shape[1] == 0:
        return first.expand(len(responses), -1)
    lengths = torch.tensor([response.shape[0] - 1 for response in responses], device=ids.device)
    places = torch.arange(ids.shape[1], device=ids.device)
    attention = torch.cat(
        [ids.new_ones(len(responses), prefix.length), (places < lengths[:, None]).long()], dim=1
    )
    states = decoder(model)(
        input_ids=ids,
        attention_mask=attention,
        position_ids=(places + prefix.length).expand(len(responses), -1),
        cache=prefix.repeated(len(responses)),
        use_cache=True,
    ).last_hidden_state
    rows = [torch.cat([first, own[:length]]) for own, length in zip(states, lengths.tolist(), strict=True)]
    return torch.cat(rows)


def split(batch: Batch, group: int) -> tuple[Tensor, list[Tensor]]:
    """Prompt and responses of one group, as token ids."""
    member = batch["group_ids"] == group
    ids, branch = batch["input_ids"][member], batch["branch_ids"][member]
    count = int((batch["seq_group"] == group).sum())
    return ids[branch == -1], [ids[branch == number] for number in range(count)]


def shared_states(model: PreTrainedModel, batch: Batch) -> Tensor:
    """What `dorpo.forward.separate_states` computes, [N, H], with every prompt read once."""
    states = []
    for group in range(batch["group_weight"].shape[0]):
        prompt, responses = split(batch, group)
        states.append(read_responses(model, read_prompt(model, prompt), responses))
    return torch.cat(states)


def decoder(model: PreTrainedModel) -> Any:
    """The layers, without the vocabulary head."""
    return model.get_decoder()  # type: ignore[no-untyped-call]  # of transformers
