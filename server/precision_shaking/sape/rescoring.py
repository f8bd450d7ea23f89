"""Soft labels of an answer that the user amended: one teacher-forced pass of the local teacher."""

from __future__ import annotations

from collections.abc import Sequence

from dorpo.rendering import render_prompt, render_response, to_messages
from dorpo.softlabels import TokenScore
from precision_shaking.sape.happenings import PromptFixed
from precision_shaking.sape.teachers import Teacher
from precision_shaking.sape.vocabulary import Attempt


async def score_amended(
    teacher: Teacher, prompt: PromptFixed, attempt: Attempt, script: str
) -> Sequence[TokenScore]:
    """What the teacher thinks of the amended answer to the row's prompt; empty when it cannot tell.

    Args:
        teacher: Who wrote the proposal; only the embedded one can be asked for the scores of a given text.
        prompt: The step's.
        attempt: The proposal; its reasoning stays.
        script: The script as the user left it.
    """
    if not teacher.embedded:
        return ()
    from precision_shaking.sape.embedded import EmbeddedModelUnavailableError
    from precision_shaking.sape.embedded.errors import PromptTooLongError
    from precision_shaking.sape.embedded.scoring import score_async

    messages = to_messages(render_prompt(prompt.instruction, prompt.script))
    try:
        return await score_async(teacher.lm, messages, render_response(attempt.reasoning, script))
    except (EmbeddedModelUnavailableError, PromptTooLongError):
        return ()
