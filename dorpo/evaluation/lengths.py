"""How long a student's own answers are and whether they end, beside the chosen responses: pure counting.

Students that learn from odds ratios may come to write ever longer or shorter answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen


@frozen
class Generated:
    """A student's answer: its text, whether it ended by itself, and how many tokens it took."""

    text: str
    ended: bool
    tokens: int


@frozen(kw_only=True)
class Lengths:
    """Of the answers to some prompts.

    Attributes:
        answers: How many there are.
        ended: Those that the student ended itself.
        end_rate: Share of these.
        mean_tokens: Mean length of an answer, the end of the turn counted where it is there.
        chosen_tokens: Mean length of the chosen responses to the same prompts.
    """

    answers: int
    ended: int
    end_rate: float
    mean_tokens: float
    chosen_tokens: float


def count_lengths(answers: Sequence[Generated], chosen: Sequence[int]) -> Lengths:
    """Count at least one answer.

    Args:
        answers: One for each prompt.
        chosen: Tokens of each prompt's chosen response.
    """
    ended = sum(answer.ended for answer in answers)
    return Lengths(
        answers=len(answers),
        ended=ended,
        end_rate=ended / len(answers),
        mean_tokens=sum(answer.tokens for answer in answers) / len(answers),
        chosen_tokens=sum(chosen) / len(chosen),
    )
