"""Soft labels of a text that its own writer did not score: one teacher-forced pass of a local model."""

from __future__ import annotations

from collections.abc import Sequence

from dorpo.softlabels import TokenScore
from precision_shaking.sape.exchange import Messages
from precision_shaking.sape.teachers import TeacherError


async def score(model: str, messages: Messages, response: str) -> Sequence[TokenScore]:
    """What a model thinks of an answer to a chat; empty where both are too long for it.

    Args:
        model: An embedded one; no other can be asked about a given text.
        messages: The chat as role and content.
        response: The answer.

    Raises:
        TeacherError: There is no such model here, or it cannot be loaded.
    """
    from precision_shaking.sape.embedded import EmbeddedModelUnavailableError
    from precision_shaking.sape.embedded.errors import PromptTooLongError
    from precision_shaking.sape.embedded.scoring import score_async

    try:
        return await score_async(model, messages, response)
    except PromptTooLongError:
        return ()
    except EmbeddedModelUnavailableError as error:
        raise TeacherError(str(error)) from error
