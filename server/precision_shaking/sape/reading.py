"""How the embedded model's feedback analyzer reads: not by asking it for the verdict, which it cannot tell.

Two weak signs are added: how like the words are to phrases that come with the package, and how probable the
model finds them from somebody who means each of the verdicts. How often that is right: docs/sape.md.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from precision_shaking.sape.exchange import Exchange, Respond
from precision_shaking.sape.likelihood import likelihoods
from precision_shaking.sape.likeness import Labelled, Likeness
from precision_shaking.sape.teachers import Teacher
from precision_shaking.sape.vocabulary import READINGS, UNCLEAR, Verdict

PHRASES = Path(__file__).parent / "data" / "phrases.toml"
# Chosen, as are the margins, on the development half of the labelled feedback, and on each tenth of the
# phrases by the other nine.
_WEIGHT_OF_LIKELIHOOD = 0.3
# Being asked costs the user a click, being misread a cycle, and taken for content what closes the step.
_MARGIN = 0.02
_MARGIN_OF_ACCEPTED = 0.2
# Who says more has said before what they mean; four passes over a whole page would take long.
_LONGEST_WORDS = 500


def weigh(alike: Mapping[str, float], likely: Mapping[str, float]) -> str:
    """The reading for which there is most evidence, or unclear where another has about as much.

    Args:
        alike: A score of each reading by the words' likeness to phrases.
        likely: The mean log-probability of the words' tokens by reading.
    """
    scores = {reading: alike[reading] + _WEIGHT_OF_LIKELIHOOD * likely[reading] for reading in READINGS}
    best, second = sorted(scores, key=lambda reading: scores[reading], reverse=True)[:2]
    margin = _MARGIN_OF_ACCEPTED if best == Verdict.ACCEPTED else _MARGIN
    return best if scores[best] - scores[second] >= margin else UNCLEAR


def read_by_itself(teacher: Teacher, inputs: Mapping[str, str]) -> Respond:
    """How the feedback analyzer answers without writing an answer.

    The exchange keeps the question as every other teacher is asked it, and the answer as they would write it,
    so that what a dataset of the analyzer's calls holds is of one form.

    Args:
        teacher: The embedded model.
        inputs: The analyzer's; only `feedback` is looked at.
    """

    async def respond(exchange: Exchange) -> None:
        words = inputs["feedback"][:_LONGEST_WORDS]
        # In a thread, since learning from the phrases takes some tenths of a second the first time.
        alike = await asyncio.to_thread(lambda: _likeness().scores(words))
        reading = weigh(alike, await likelihoods(teacher, words))
        exchange.text = f"[[ ## verdict ## ]]\n{reading}\n\n[[ ## completed ## ]]"
        exchange.finish_reason = "stop"

    return respond


def phrases() -> list[Labelled]:
    """The phrases that come with the package."""
    languages = tomllib.loads(PHRASES.read_text("utf-8")).values()
    return [
        Labelled(words, meaning)
        for meanings in languages
        for meaning, group in meanings.items()
        for words in group
    ]


@lru_cache(maxsize=1)
def _likeness() -> Likeness:
    return Likeness.of(phrases(), READINGS)
