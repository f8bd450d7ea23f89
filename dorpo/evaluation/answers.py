"""A student's own answers to the prompts of rows, always its most probable token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from dorpo.batches import Group
from dorpo.evaluation.lengths import Generated
from dorpo.tokens import StudentTokens


def greedy_answers(
    model: Any, tokens: StudentTokens, groups: Sequence[Group], *, most_tokens: int, window: int
) -> Iterator[Generated]:
    """Answer each group's prompt, one at a time.

    Args:
        model: A causal language model, with adapters or without; it is put into evaluation mode.
        tokens: Its tokenizer.
        groups: Whose prompts to answer.
        most_tokens: Where an answer that does not end is cut off.
        window: Tokens that the model can read, prompt included.
    """
    model.eval()
    for group in groups:
        room = max(1, min(most_tokens, window - len(group.prompt)))
        yield _answer(model, tokens, group.prompt, room)


@torch.no_grad()
def _answer(model: Any, tokens: StudentTokens, prompt: Sequence[int], room: int) -> Generated:
    ids = torch.tensor([list(prompt)], device=next(model.parameters()).device)
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=room,
        eos_token_id=tokens.end_of_turn,
        pad_token_id=tokens.end_of_turn,
        use_cache=True,
    )  # type: ignore[no-untyped-call]  # of transformers
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)[
        0, len(prompt) :
    ].tolist()
    ended = written[-1:] == [tokens.end_of_turn]
    text = tokens.tokenizer.decode(
        written[:-1] if ended else written, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return Generated(text, ended, len(written))
