"""Soft labels of an answer that the user amended: one teacher-forced pass of the local teacher."""

from __future__ import annotations

from collections.abc import Sequence

from dorpo.softlabels import TokenScore
from precision_shaking.sape.exchange import Messages
from precision_shaking.sape.teachers import Teacher


async def score(teacher: Teacher, messages: Messages, response: str) -> Sequence[TokenScore]:
    """What the teacher thinks of an answer to a chat; empty when it cannot tell.

    Args:
        teacher: Only the embedded one can be asked for the scores of a given text.
        messages: The chat as role and content.
        response: The answer.
    """
    if not teacher.embedded:
        return ()
    from precision_shaking.sape.embedded import EmbeddedModelUnavailableError
    from precision_shaking.sape.embedded.errors import PromptTooLongError
    from precision_shaking.sape.embedded.scoring import score_async

    try:
        return await score_async(teacher.lm, messages, response)
    except (EmbeddedModelUnavailableError, PromptTooLongError):
        return ()
