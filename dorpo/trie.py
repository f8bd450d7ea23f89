"""The texts of a group as a tree in which a common beginning stands once.

    prompt, and what all responses begin with ─┬─ chosen and rejected 1 ─┬─ chosen
                                               │                         └─ rejected 1
                                               └─ rejected 2

What a text is made of are segments, each read behind its parent. A segment of its own is one more pass
through the layers, so responses part company early where staying together would save little. What all of them
begin with goes with the prompt and costs no pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from attrs import frozen

from dorpo.differences import common_length

# Tokens that a segment must save: on a CPU a pass through the layers costs no more than a few of them.
SHORTEST = 16


@frozen
class Segment:
    """Tokens in a row that belong to the same texts.

    Attributes:
        parent: Index of the segment that it continues, or -1.
        begin: Position of its first token.
        ids: Its tokens, never empty.
    """

    parent: int
    begin: int
    ids: tuple[int, ...]


@frozen
class Trie:
    """All texts of a group, without their last tokens, from which nothing is predicted.

    Attributes:
        segments: Depth first: all that continues a segment directly follows it.
        paths: The segments of every response, the prompt's first.
    """

    segments: tuple[Segment, ...]
    paths: tuple[tuple[int, ...], ...]

    @cached_property
    def tokens(self) -> int:
        """Tokens of all segments."""
        return sum(len(segment.ids) for segment in self.segments)


def grow(prompt: Sequence[int], responses: Sequence[Sequence[int]], *, shortest: int = SHORTEST) -> Trie:
    """Find what the responses to a prompt have in common from their beginning on.

    Args:
        prompt: Token ids.
        responses: Token ids of each, at least one.
        shortest: Fewest tokens that a segment saves.
    """
    texts = [(*prompt, *response[:-1]) for response in responses]
    everybody = list(range(len(texts)))
    segments: list[Segment] = []
    paths: list[list[int]] = [[] for _ in texts]
    growing = [(-1, everybody, 0, _end(texts, everybody, len(prompt)))]
    while growing:
        parent, members, begin, end = growing.pop()
        for member in members:
            paths[member].append(len(segments))
        branches = [
            (len(segments), together, end, until)
            for together, until in _branches(texts, members, end, end, shortest)
        ]
        growing += reversed(branches)
        segments.append(Segment(parent, begin, texts[members[0]][begin:end]))
    return Trie(tuple(segments), tuple(map(tuple, paths)))


def _branches(
    texts: Sequence[tuple[int, ...]], members: Sequence[int], begin: int, at: int, shortest: int
) -> Iterator[tuple[list[int], int]]:
    """Who goes on together from `begin`, and up to where; all members are known to be alike up to `at`."""
    alike: dict[int | None, list[int]] = {}
    for member in members:
        text = texts[member]
        alike.setdefault(text[at] if at < len(text) else None, []).append(member)
    for token, together in alike.items():
        if token is None:  # they end here, so they are the same text
            if at > begin:
                yield together, at
            continue
        end = _end(texts, together, at)
        if len(together) == 1 or (end - begin) * (len(together) - 1) >= shortest:
            yield together, end
        else:
            yield from _branches(texts, together, begin, end, shortest)


def _end(texts: Sequence[tuple[int, ...]], members: Sequence[int], at: int) -> int:
    """Up to where these texts are alike, which they are known to be up to `at`."""
    first, *others = (texts[member][at:] for member in members)
    return at + min((common_length(first, other) for other in others), default=len(first))
