"""Between DSPy's model-neutral requests and events, and ours."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from precision_shaking.sape.embedded.errors import (
    EmbeddedModelUnavailableError,
    InvalidGrammarError,
    PromptTooLongError,
)
from precision_shaking.sape.embedded.probabilities import TokenScores
from precision_shaking.sape.embedded.runtime import Decoded, Runtime
from precision_shaking.sape.embedded.sampling import Settings
from precision_shaking.sape.embedded.tokenizer import Tokenizer

if TYPE_CHECKING:
    from dspy import lm15

PROVIDER = "llama.cpp"


def messages_of(request: lm15.Request) -> list[dict[str, str]]:
    """Return the request's chat as role and content; it holds nothing but text."""
    system = request.system
    messages = []
    if system is not None:
        text = system if isinstance(system, str) else "\n".join(part.text for part in system)
        messages.append({"role": "system", "content": text})
    for message in request.messages:
        messages.append({"role": message.role, "content": message.text or ""})
    return messages


def settings_of(request: lm15.Request, repeat_penalty: float) -> Settings:
    """Return how the request wants its answer decoded.

    Raises:
        dspy.lm15.UnsupportedFeatureError: It asks for what this engine does not do.
    """
    from dspy import lm15
    from dspy.clients.engines.base import validate_request

    validate_request(request)
    config = request.config
    for feature in ("stop", "response_format", "frequency_penalty", "presence_penalty"):
        if getattr(config, feature):
            raise lm15.UnsupportedFeatureError(
                f"The embedded model does not support {feature}.", feature=feature, provider=PROVIDER
            )
    defaults = Settings()
    return Settings(
        max_tokens=config.max_tokens or defaults.max_tokens,
        temperature=config.temperature or 0.0,
        top_p=defaults.top_p if config.top_p is None else config.top_p,
        top_k=config.top_k or defaults.top_k,
        seed=config.seed,
        repeat_penalty=repeat_penalty,
        grammar=_metadata(request).get("gbnf"),
        top_logprobs=config.logprobs,
    )


def _metadata(request: lm15.Request) -> dict[str, Any]:
    """Return what is for this engine alone: DSPy passes no other key of a call through.

    `gbnf` is the grammar that the answer must match, `draft` a text that it will mostly copy.
    """
    metadata = (request.config.extensions or {}).get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def answer(
    runtime: Runtime, request: lm15.Request, repeat_penalty: float, put: Callable[[Any], None]
) -> None:
    """Decode the answer to a request in the model's thread.

    Args:
        runtime: The model.
        request: What DSPy asks.
        repeat_penalty: See `Settings`.
        put: Receives the answer as lm15 stream events; must be callable from this thread.
    """
    from dspy import lm15

    settings = settings_of(request, repeat_penalty)
    put(lm15.StreamStartEvent(model=request.model))
    pieces = _Pieces(runtime.tokenizer, put)
    prompt = runtime.tokenizer.encode_chat(messages_of(request))
    draft = runtime.tokenizer.encode(_metadata(request).get("draft") or "")
    ending = runtime.generate(prompt, settings, pieces.add, draft)
    pieces.finish()
    usage = lm15.Usage(ending.prompt_tokens, ending.tokens, cache_read_tokens=ending.reused)
    put(lm15.StreamEndEvent(finish_reason=ending.reason, usage=usage))


class _Pieces:
    """Gathers tokens into text events: a character may be spread over several tokens."""

    def __init__(self, tokenizer: Tokenizer, put: Callable[[Any], None]) -> None:
        self._tokenizer = tokenizer
        self._put = put
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._scores: list[TokenScores] = []

    def add(self, decoded: Decoded) -> None:
        if decoded.scores is not None:
            self._scores.append(decoded.scores)
        text = self._decoder.decode(self._tokenizer.piece(decoded.token))
        if text:
            self._send(text)

    def finish(self) -> None:
        """Send what is left, if only an empty text: an answer of no tokens is an answer too."""
        self._send(self._decoder.decode(b"", final=True))

    def _send(self, text: str) -> None:
        from dspy import lm15

        scores = tuple(_token_logprob(self._tokenizer, scores) for scores in self._scores)
        self._put(lm15.StreamDeltaEvent(lm15.TextDelta(text, logprobs=scores)))
        self._scores.clear()


def _token_logprob(tokenizer: Tokenizer, scores: TokenScores) -> lm15.TokenLogprob:
    from dspy import lm15

    def fields(token: int, logprob: float) -> dict[str, Any]:
        piece = tokenizer.piece(token)
        text = piece.decode("utf-8", "replace")
        return {"token": text, "logprob": float(logprob), "bytes": tuple(piece), "token_id": int(token)}

    top = zip(scores.top_tokens.tolist(), scores.top_logprobs.tolist(), strict=True)
    return lm15.TokenLogprob(
        **fields(scores.token, scores.logprob), top=tuple(lm15.TopLogprob(**fields(*pair)) for pair in top)
    )


def translated(error: Exception) -> Exception:
    """Say an error of ours in lm15's terms, which DSPy understands; others stay what they are."""
    from dspy import lm15

    kinds: dict[type[Exception], Callable[..., Exception]] = {
        PromptTooLongError: lm15.ContextLengthError,
        InvalidGrammarError: lm15.InvalidRequestError,
        EmbeddedModelUnavailableError: lm15.ConfigurationError,
    }
    kind = kinds.get(type(error))
    return error if kind is None else kind(str(error), provider=PROVIDER)
