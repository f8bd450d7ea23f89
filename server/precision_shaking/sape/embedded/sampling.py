"""Choosing the next token: plain numpy over the logits, with a grammar as referee."""

from __future__ import annotations

import ctypes
from collections import deque
from typing import Any, Self

import numpy as np
from attrs import frozen

from precision_shaking.sape.embedded.errors import InvalidGrammarError
from precision_shaking.sape.embedded.probabilities import Floats, Tokens, best_tokens

# How many of the likeliest tokens are shown to the grammar, one round after the other, before all are.
_ROUNDS = (128, 2048)


@frozen
class Settings:
    """How an answer is decoded.

    Attributes:
        max_tokens: Longest answer; a longer one is cut and finishes with "length".
        temperature: 0 takes the likeliest token every time.
        top_p: Sampling only: smallest set of tokens that holds this much probability.
        top_k: Sampling only: at most this many tokens.
        seed: Sampling only; None draws a fresh one.
        repeat_penalty: Above 1, what was written in the last 64 tokens becomes less likely.
        grammar: GBNF with a rule `root` that the answer must match.
        top_logprobs: Log-probabilities to capture at each token; None captures none, 0 the token's own.
    """

    max_tokens: int = 1024
    temperature: float = 0.0
    top_p: float = 0.95
    top_k: int = 40
    seed: int | None = None
    repeat_penalty: float = 1.0
    grammar: str | None = None
    top_logprobs: int | None = None


class Grammar:
    """llama.cpp's grammar automaton, asked about tokens and moved on by the one that was chosen."""

    def __init__(self, library: Any, vocabulary: Any, gbnf: str) -> None:
        self._library = library
        self._sampler = library.llama_sampler_init_grammar(vocabulary, gbnf.encode(), b"root")
        if not self._sampler:
            raise InvalidGrammarError("The grammar of this answer cannot be read by llama.cpp.")

    def allowed(self, tokens: Tokens) -> Tokens:
        """Return those of the tokens that may come next, in the same order."""
        count = len(tokens)
        rows = (self._library.llama_token_data * count)()
        table = np.frombuffer(rows, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        table["id"] = tokens
        data = ctypes.cast(rows, self._library.llama_token_data_p)
        candidates = self._library.llama_token_data_array(data=data, size=count, selected=-1, sorted=False)
        self._library.llama_sampler_apply(self._sampler, ctypes.byref(candidates))
        return tokens[table["logit"] > -np.inf]

    def accept(self, token: int) -> None:
        """Move on by a token that is allowed."""
        self._library.llama_sampler_accept(self._sampler, token)

    def close(self) -> None:
        """Free the automaton."""
        self._library.llama_sampler_free(self._sampler)


class Sampler:
    """Chooses the tokens of one answer; a context manager, because the grammar lives in C.

    The grammar is not applied to the whole vocabulary at every token. The model's own choice is tested first,
    and only if it is refused are its likeliest tokens filtered, in growing rounds.
    """

    def __init__(self, library: Any, vocabulary: Any, settings: Settings) -> None:
        self._settings = settings
        self._random = np.random.default_rng(settings.seed)
        self._recent: deque[int] = deque(maxlen=64)
        self._grammar = Grammar(library, vocabulary, settings.grammar) if settings.grammar else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._grammar is not None:
            self._grammar.close()

    def choose(self, logits: Floats) -> int:
        """Choose the next token from its logits, shape (vocabulary,); they are not changed.

        Raises:
            InvalidGrammarError: Nothing in the vocabulary continues the grammar.
        """
        logits = self._penalise(logits)
        token = self._draw(logits, None)
        if self._grammar is not None:
            if not self._grammar.allowed(np.array([token], np.int32)).size:
                token = self._draw(logits, self._continuations(logits, self._grammar))
            self._grammar.accept(token)
        self._recent.append(token)
        return token

    def _penalise(self, logits: Floats) -> Floats:
        penalty = self._settings.repeat_penalty
        if penalty == 1.0 or not self._recent:
            return logits
        written = list(set(self._recent))
        logits = logits.copy()
        values = logits[written]
        logits[written] = np.where(values > 0, values / penalty, values * penalty)
        return logits

    @staticmethod
    def _continuations(logits: Floats, grammar: Grammar) -> Tokens:
        """Return likely tokens that the grammar allows, likeliest first."""
        for count in _ROUNDS:
            if count < len(logits):
                allowed = grammar.allowed(best_tokens(logits[None], count)[0])
                if allowed.size:
                    return allowed
        allowed = grammar.allowed(np.argsort(-logits).astype(np.int32))
        if not allowed.size:
            raise InvalidGrammarError("No token of this model continues the grammar of the answer.")
        return allowed

    def _draw(self, logits: Floats, among: Tokens | None) -> int:
        """Draw from all tokens, or from some, which are sorted by falling logit."""
        settings = self._settings
        if settings.temperature <= 0:
            return int(logits.argmax() if among is None else among[0])
        if among is None:
            among = best_tokens(logits[None], min(settings.top_k, len(logits)))[0]
        among = among[: settings.top_k]
        scaled = (logits[among] - logits[among[0]]).astype(np.float64)
        weights = np.exp(scaled)
        nucleus = np.cumsum(weights) - weights < settings.top_p * weights.sum()
        nucleus[0] = True
        among, weights = among[nucleus], np.exp(scaled[nucleus] / settings.temperature)
        return int(self._random.choice(among, p=weights / weights.sum()))
