"""How a small local model reads feedback: it says how probable the words are, not what they mean.

Asked which of four verdicts the user's words are, a model of a hundred million parameters names the same one
whatever they are. The other way round it knows more: how probable the words are from somebody who means each
of the verdicts. With equal priors, the one that makes them most probable is the reading.

Source: noisy channel prompting, https://arxiv.org/abs/2108.04106, without examples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from precision_shaking.sape.exchange import Exchange, Respond
from precision_shaking.sape.teachers import Teacher

_MEANING: Mapping[str, str] = {
    "accepted": "I like it. It is perfect, keep it.",
    "redo": "It is wrong. Throw it away and start over.",
    "further_edit": "It is good, but also add or change one more thing.",
    "unclear": "I do not know yet. I have a question.",
}
# Who says more has said before what they mean; four passes over a whole page would take long.
_LONGEST_WORDS = 500


def read_by_likelihood(teacher: Teacher, inputs: Mapping[str, str]) -> Respond:
    """How the feedback analyzer answers without writing an answer.

    The exchange keeps the question as every other teacher is asked it, and the answer as they would write it,
    so that what a dataset of the analyzer's calls holds is of one form.

    Args:
        teacher: The embedded model.
        inputs: The analyzer's; only `feedback` is looked at.
    """

    async def respond(exchange: Exchange) -> None:
        from precision_shaking.sape.embedded import score_async

        words = inputs["feedback"][:_LONGEST_WORDS]
        best, most = "unclear", -math.inf
        for verdict, meaning in _MEANING.items():
            prompt = [{"role": "user", "content": f"Say in other words: {meaning}"}]
            likelihood = sum(token.logprob for token in await score_async(teacher.lm, prompt, words, k=0))
            if likelihood > most:
                best, most = verdict, likelihood
        exchange.text = f"[[ ## verdict ## ]]\n{best}\n\n[[ ## completed ## ]]"
        exchange.finish_reason = "stop"

    return respond
