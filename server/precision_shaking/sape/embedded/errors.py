"""What can go wrong with a model that runs inside this process."""

from __future__ import annotations


class EmbeddedModelUnavailableError(RuntimeError):
    """There is no embedded model to work with; the message is one sentence that says what to do."""


class PromptTooLongError(ValueError):
    """The prompt leaves no room for an answer in the model's context."""


class InvalidGrammarError(ValueError):
    """The grammar cannot be read, or no token of the vocabulary continues it."""


class AbortedError(Exception):
    """The job was cancelled while it ran."""
