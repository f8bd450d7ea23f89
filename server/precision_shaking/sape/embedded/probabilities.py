"""Log-probabilities out of logits, without sorting a vocabulary."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from attrs import frozen

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int32]


@frozen(eq=False)
class TokenScores:
    """How probable the model finds one token, and what it finds most probable there.

    Attributes:
        token: The token's id.
        logprob: Its natural-log probability under the full softmax, before any sampling setting.
        top_tokens: The k most probable ids, best first.
        top_logprobs: Their log-probabilities.
    """

    token: int
    logprob: float
    top_tokens: Tokens
    top_logprobs: Floats


def score_rows(logits: Floats, chosen: Tokens, k: int) -> list[TokenScores]:
    """Score one token per row of logits.

    Args:
        logits: Rows by vocabulary.
        chosen: The token of each row.
        k: How many of the most probable tokens to keep, at least 0.

    Returns:
        One record per row. Sums run in float64: over 50,000 terms float32 loses the sixth digit.
    """
    k = min(k, logits.shape[1])
    peak = logits.max(axis=1, keepdims=True)
    total = np.exp(logits - peak).sum(axis=1, dtype=np.float64)
    normaliser = (peak[:, 0] + np.log(total)).astype(np.float32)
    logprobs = logits[np.arange(len(chosen)), chosen] - normaliser
    tops = best_tokens(logits, k)
    top_logprobs = np.take_along_axis(logits, tops, axis=1) - normaliser[:, None]
    return [
        TokenScores(int(token), float(logprob), top, values)
        for token, logprob, top, values in zip(chosen, logprobs, tops, top_logprobs, strict=True)
    ]


def best_tokens(logits: Floats, k: int) -> Tokens:
    """Return each row's k largest columns, largest first; shape rows by k."""
    if k == 0:
        return np.empty((logits.shape[0], 0), np.int32)
    best = np.argpartition(logits, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(logits, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1).astype(np.int32)
