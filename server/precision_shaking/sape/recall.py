"""What the user's words meant when they said so themselves: then nobody has to read them again.

A correction and a button both say what the words beside them mean. Pure; the words come from the dataset, so
that deleting a session forgets them too.
"""

from __future__ import annotations

from collections.abc import Sequence

from dorpo.store import Said
from precision_shaking.sape.likeness import folded
from precision_shaking.sape.vocabulary import Verdict

_QUESTION_MARKS = ("?", "؟")
_SAYS_NOTHING = " .!。"  # at the end; a question mark makes other words


def recalled(words: str, said: Sequence[Said]) -> Verdict | None:
    """What the same words meant every time; None if they never were said, or meant different things.

    A question is never recalled: its asker got an answer and pressed a button, which says nothing of the
    next time.

    Args:
        words: The user's.
        said: What they said before and decided themselves.
    """
    wanted = _same(words)
    if wanted.endswith(_QUESTION_MARKS):
        return None
    meant = {before.verdict for before in said if _same(before.words) == wanted}
    return Verdict(meant.pop()) if len(meant) == 1 else None


def _same(words: str) -> str:
    return folded(words).rstrip(_SAYS_NOTHING) or folded(words)
