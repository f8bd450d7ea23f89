"""What the embedded model thinks of a text that somebody else wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dorpo.softlabels import MAX_TOP, TokenScore
from precision_shaking.sape.embedded.probabilities import TokenScores
from precision_shaking.sape.embedded.runtime import ModelOptions, Runtime
from precision_shaking.sape.embedded.tokenizer import ChatMessage, Tokenizer
from precision_shaking.sape.embedded.worker import Job, worker_for

if TYPE_CHECKING:
    import dspy


def score(
    model: str | dspy.LM, messages: Sequence[ChatMessage], response: str, k: int = MAX_TOP
) -> list[TokenScore]:
    """Score a known answer token by token, in one teacher-forced pass; blocks until it is done.

    The text is tokenized anew, so its tokens need not be those another decoding of it chose.

    Args:
        model: An `embedded_lm`, or its name.
        messages: The chat that the answer replies to.
        response: The answer, which may be empty.
        k: Most probable tokens to keep at each position.

    Returns:
        One score per token; their bytes joined are the response in UTF-8.

    Raises:
        EmbeddedModelUnavailableError: llama.cpp or the model is missing.
        PromptTooLongError: Chat and answer do not fit the model's context.
    """
    job = _submit(model, messages, response, k)
    try:
        return job.future.result()
    finally:
        job.cancel()


async def score_async(
    model: str | dspy.LM, messages: Sequence[ChatMessage], response: str, k: int = MAX_TOP
) -> list[TokenScore]:
    """Do what `score` does without blocking; cancelling the task stops the model."""
    job = _submit(model, messages, response, k)
    try:
        return await asyncio.wrap_future(job.future)
    finally:
        job.cancel()


def _submit(
    model: str | dspy.LM, messages: Sequence[ChatMessage], response: str, k: int
) -> Job[list[TokenScore]]:
    def work(runtime: Runtime) -> list[TokenScore]:
        tokenizer = runtime.tokenizer
        scores = runtime.score(tokenizer.encode_chat(messages), tokenizer.encode(response), k)
        return _without_added_space([_token_score(tokenizer, token) for token in scores], response)

    if isinstance(model, str):
        return worker_for(model, ModelOptions()).submit(work)
    return worker_for(model.model, model.engine.options).submit(work)  # the one the LM has loaded


def _token_score(tokenizer: Tokenizer, scores: TokenScores) -> TokenScore:
    top = zip(scores.top_tokens.tolist(), scores.top_logprobs.tolist(), strict=True)
    named = tuple((tokenizer.piece(token), logprob) for token, logprob in top)
    return TokenScore(tokenizer.piece(scores.token), scores.logprob, named)


def _without_added_space(scores: list[TokenScore], text: str) -> list[TokenScore]:
    """Take off the space that some tokenizers put before a text."""
    if not scores or text.startswith(" ") or not scores[0].token.startswith(b" "):
        return scores
    first = scores[0]
    return [TokenScore(first.token[1:], first.logprob, first.top), *scores[1:]]
