"""One call of a teacher: what was asked, and what came back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define

from dorpo.softlabels import MAX_TOP, TokenScore
from precision_shaking.sape.formats import whole_characters

if TYPE_CHECKING:
    from dspy import lm15

Messages = list[dict[str, str]]


@define
class Exchange:
    """One call of a teacher: what was asked and what came back, readable or not.

    Attributes:
        messages: The chat as role and content.
        text: The answer exactly as written; None when none came.
        finish_reason: In DSPy's words: stop, length, content_filter…
        scores: The answer's log-probabilities, token by token; empty without.
        fault: Why it cannot be read, in one sentence; empty when it can.
        cached_tokens: Input tokens that the provider had read before, and reasoning_tokens: output tokens
            that are not in the text; None where it does not say.
        cost_usd: What the call cost; None where the price is not known.
    """

    messages: Messages
    text: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    scores: tuple[TokenScore, ...] = ()
    fault: str = ""
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None

    def take(self, response: lm15.Response) -> None:
        """Keep a response."""
        self.text = whole_characters(response.text or "")
        self.finish_reason = response.finish_reason
        self.input_tokens = response.usage.input_tokens
        self.output_tokens = response.usage.output_tokens
        self.cached_tokens = response.usage.cache_read_tokens
        self.reasoning_tokens = response.usage.reasoning_tokens
        self.scores = _token_scores(response.logprobs or ())


# Fills an exchange that has its messages, where no teacher is to be asked.
Respond = Callable[[Exchange], Awaitable[None]]


def _token_scores(tokens: Sequence[lm15.TokenLogprob]) -> tuple[TokenScore, ...]:
    try:
        return tuple(_token_score(token) for token in tokens)
    except ValueError:  # a byte that is none: the answer may be fine all the same
        return ()


def _token_score(token: lm15.TokenLogprob) -> TokenScore:
    top = sorted(((_bytes(other), other.logprob) for other in token.top), key=lambda pair: -pair[1])
    return TokenScore(_bytes(token), token.logprob, tuple(top[:MAX_TOP]))


def _bytes(token: Any) -> bytes:
    return token.token.encode("utf-8", "surrogatepass") if token.bytes is None else bytes(token.bytes)
