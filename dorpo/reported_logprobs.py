"""Log-probabilities as APIs and datasets give them, packed as soft labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dorpo import softlabels
from dorpo.softlabels import TokenScore


def pack(reported: Any) -> bytes | None:
    """Soft labels from what a column holds.

    Args:
        reported: A list with `token`, `bytes`, `logprob` and `top_logprobs` (or `top`) for every token, as
            the OpenAI API answers, alone or under `content`; soft labels that are packed already; or None.

    Returns:
        Packed soft labels; None where nothing was reported.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(reported, Mapping):
        reported = reported.get("content")
    if not reported:
        return None
    if isinstance(reported, bytes):
        softlabels.decode(reported)
        return reported
    if not isinstance(reported, Sequence) or isinstance(reported, str):
        raise ValueError("Log-probabilities must be a list of tokens, or packed soft labels.")
    return softlabels.encode([_score(entry) for entry in reported])


def _score(entry: Any) -> TokenScore:
    token, logprob = _token(entry)
    # Arrow tables have every column in every row, empty where it does not belong.
    top = entry.get("top_logprobs") or entry.get("top") or ()
    return TokenScore(token, logprob, tuple(_token(alternative) for alternative in top))


def _token(entry: Any) -> tuple[bytes, float]:
    if isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) == 2:
        token, logprob = entry
        return token if isinstance(token, bytes) else str(token).encode(), float(logprob)
    if not isinstance(entry, Mapping) or entry.get("logprob") is None:
        raise ValueError("A token of the log-probabilities needs a logprob, and bytes or a token.")
    # The text of half a UTF-8 character is an escape; only its bytes are true.
    spelled = entry.get("bytes")
    token = bytes(spelled) if spelled is not None else str(entry.get("token", "")).encode()
    return token, float(entry["logprob"])
