"""Guessing how an answer goes on from a text that it mostly copies: n-gram lookup over tokens, no model.

The source is the answer as it would be if nothing changed. While the answer follows it, what comes next in
the source is the guess, and the longer it has followed, the longer the guess. Where they part, the last few
tokens are looked up: the longest run of them in the source, and among equals the one behind the place that
was left, which jumps over deleted and inserted lines. A wrong guess costs nearly as much time as a right one
saves, so each place that proved wrong doubles the run that the next one needs, until one proved right.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

# Tokens in a guess: fewer are hardly faster than one by one, more lose at the next change what they gain.
_SHORTEST, _LONGEST = 7, 27
_FEWEST, _MOST = 3, 64  # tokens in a row that must agree for a place to be tried


class Drafter:
    """Follows one answer through its source.

    Args:
        source: Token ids; empty for an answer that copies nothing.
    """

    def __init__(self, source: Sequence[int]) -> None:
        self._source = list(source)
        self._places = _index(self._source)
        self._recent: deque[int] = deque(maxlen=_MOST)
        self._place: int | None = 0  # where the answer is thought to go on in the source
        self._left = 0  # behind the last token that was copied
        self._copied = 0  # tokens in a row before the place
        self._found = 0  # how many of them had been written before the place was found
        self._needed = _FEWEST

    def propose(self, most: int) -> list[int]:
        """Return what may come next: at most `most` tokens, and none where there is no good guess."""
        if self._place is None:
            return []
        # Four rows, the newest token's included, take as long as one that is left over.
        length = min((2 * self._copied + _SHORTEST) | 3, _LONGEST, most)
        return self._source[self._place : self._place + max(0, length)]

    def confirm(self, token: int) -> None:
        """Take note of the answer's next token, guessed or not."""
        self._recent.append(token)
        if self._place is not None:
            if self._source[self._place : self._place + 1] == [token]:
                self._place = self._left = self._place + 1
                self._copied += 1
                return
            proved = self._copied - self._found >= _SHORTEST
            self._needed = _FEWEST if proved else min(2 * self._needed, _MOST)
        self._place, self._copied = self._find()
        self._found = self._copied

    def _find(self) -> tuple[int | None, int]:
        """Return the best place to go on from and the run of recent tokens before it."""
        best, longest = None, 0
        places = self._places.get(tuple(self._recent)[-_FEWEST:], ())
        # Those behind the place that was left come first, and only a longer run beats an earlier one.
        for place in sorted(places, key=lambda place: (place < self._left, place)):
            run = self._run_before(place)
            if run >= self._needed and run > longest:
                best, longest = place, run
        return best, longest

    def _run_before(self, place: int) -> int:
        run = 0
        for token, copied in zip(
            reversed(self._recent), reversed(self._source[max(0, place - _MOST) : place]), strict=False
        ):
            if token != copied:
                break
            run += 1
        return run


def _index(source: list[int]) -> dict[tuple[int, ...], list[int]]:
    """Return the places behind each n-gram that something follows."""
    places: dict[tuple[int, ...], list[int]] = {}
    for end in range(_FEWEST, len(source)):
        places.setdefault(tuple(source[end - _FEWEST : end]), []).append(end)
    return places
