"""A language model inside this process: no key, no network, every token's log-probabilities."""

from __future__ import annotations

from precision_shaking.sape.embedded.engine import embedded_lm
from precision_shaking.sape.embedded.errors import EmbeddedModelUnavailableError
from precision_shaking.sape.embedded.scoring import score, score_async

__all__ = ["EmbeddedModelUnavailableError", "embedded_lm", "score", "score_async"]
