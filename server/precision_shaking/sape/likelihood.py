"""What a small local model can say of feedback: how probable the words are, not what they mean.

Asked which of four verdicts the user's words are, a model of a hundred million parameters names the same one
whatever they are. The other way round it knows more: how probable the words are from somebody who means each
of the verdicts.

Source: noisy channel prompting, https://arxiv.org/abs/2108.04106, without examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from precision_shaking.sape.teachers import Teacher
from precision_shaking.sape.vocabulary import UNCLEAR, Verdict

_MEANING: Mapping[str, str] = {
    Verdict.ACCEPTED: "I like it. It is perfect, keep it.",
    Verdict.REDO: "It is wrong. Throw it away and start over.",
    Verdict.FURTHER_EDIT: "It is good, but also add or change one more thing.",
    UNCLEAR: "I do not know yet. I have a question.",
}


async def likelihoods(teacher: Teacher, words: str) -> dict[str, float]:
    """How probable the words are from somebody who means each reading.

    Args:
        teacher: The embedded model.
        words: The user's, few enough for four passes over them while the user waits.

    Returns:
        Log-probability by reading, the mean of the words' tokens: long words are no better evidence.
    """
    from precision_shaking.sape.embedded import score_async

    found = {}
    for reading, meaning in _MEANING.items():
        prompt = [{"role": "user", "content": f"Say in other words: {meaning}"}]
        tokens = await score_async(teacher.lm, prompt, words, k=0)
        found[str(reading)] = fmean(token.logprob for token in tokens)
    return found
