"""What a teacher's tokens say about a student's tokens, when the two cut the same text differently.

Both token sequences are read as bytes and merged at the byte positions where both have a boundary. Between
two such positions lies a chunk. In a chunk of one student token and one teacher token, the teacher's
alternatives are translated into student ids; a larger chunk only keeps the log-probability of its text; and
what the teacher did not score is a hard label: a teacher that is certain of the text.

All log-probabilities are natural logarithms at temperature 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from attrs import frozen

from dorpo.differences import common_length
from dorpo.softlabels import TokenScore

# Half-precision storage and rounding at the provider may lift a sum of probabilities a little above one.
_MASS_TOLERANCE = 1.01
# Some providers write -9999 for "practically impossible"; a real log-probability never comes near it.
_SENTINEL = -1000.0


class Kind(IntEnum):
    """Where the label of a student token comes from."""

    NONE = 0  # a rejected response has no teacher
    ONE_TO_ONE = 1
    CHUNK = 2
    HARD = 3


class Vocabulary(Protocol):
    """What alignment must know about the student's vocabulary, see `dorpo.token_bytes`."""

    @property
    def packs_digits(self) -> bool:
        """Whether some token holds several digits."""

    def id_of(self, piece: bytes) -> int | None:
        """The id whose text is exactly these bytes."""

    def first_id(self, piece: bytes) -> int | None:
        """The id that this text would begin with."""


@frozen
class Target:
    """What a teacher says at one student token: ids and natural log-probabilities, most probable first.

    The mass that is missing to one belongs to the rest of the vocabulary, without saying to which part of it.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]


@frozen
class Chunk:
    """Student tokens `start` to `stop` (exclusive) that only together have a teacher log-probability."""

    start: int
    stop: int
    logprob: float


@frozen
class Alignment:
    """Labels for every token of one response.

    Attributes:
        kinds: One per student token.
        targets: One per student token; None for the tokens of a chunk.
        chunks: In order, without overlaps.
    """

    kinds: tuple[Kind, ...]
    targets: tuple[Target | None, ...]
    chunks: tuple[Chunk, ...] = ()


def hard(ids: Sequence[int]) -> Alignment:
    """Labels of a text nobody scored: every token is certain."""
    return Alignment((Kind.HARD,) * len(ids), tuple(_certain(token) for token in ids))


def align(
    ids: Sequence[int],
    pieces: Sequence[bytes],
    teacher: Sequence[TokenScore],
    vocabulary: Vocabulary,
    *,
    top_k: int = 20,
) -> Alignment:
    """Label every student token of one response.

    A student token without bytes (the end of the turn) and everything after the first byte at which the two
    texts differ are hard labels, so a response that was changed a little after scoring keeps what still fits.

    Args:
        ids: The student's token ids, the end-of-turn token included.
        pieces: Their bytes, as many; empty for control tokens.
        teacher: The teacher's tokens with their log-probabilities, in order.
        vocabulary: The student's.
        top_k: How many alternatives a target keeps, the most probable; the text's own token always stays.
    """
    scores = [score for score in teacher if score.token]
    guard = vocabulary.packs_digits and not _packs_digits(scores)
    kinds = [Kind.HARD] * len(ids)
    targets: list[Target | None] = [_certain(token) for token in ids]
    chunks: list[Chunk] = []
    for start, stop, first, last in merge(pieces, [score.token for score in scores]):
        if stop - start == 1 and last - first == 1:
            target = _translate(ids[start], scores[first], vocabulary, top_k, guard)
            if target is not None:
                kinds[start], targets[start] = Kind.ONE_TO_ONE, target
            continue
        if all(is_logprob(score.logprob) for score in scores[first:last]):
            kinds[start:stop] = [Kind.CHUNK] * (stop - start)
            targets[start:stop] = [None] * (stop - start)
            chunks.append(Chunk(start, stop, min(sum(score.logprob for score in scores[first:last]), 0.0)))
    return Alignment(tuple(kinds), tuple(targets), tuple(chunks))


def merge(student: Sequence[bytes], teacher: Sequence[bytes]) -> list[tuple[int, int, int, int]]:
    """The smallest chunks in which both sides spell the same bytes, as far as the two texts agree.

    Args:
        student: Tokens as bytes; one without bytes joins the chunk that follows it.
        teacher: Tokens as bytes, none of them empty.

    Returns:
        Half-open ranges (student start, student stop, teacher start, teacher stop), in order; linear in time.
    """
    agreed = common_length(b"".join(student), b"".join(teacher))
    chunks: list[tuple[int, int, int, int]] = []
    start = first = last = student_end = teacher_end = 0
    for stop, piece in enumerate(student, 1):
        student_end += len(piece)
        if student_end > agreed:
            break
        while teacher_end < student_end:
            teacher_end += len(teacher[last])
            last += 1
        if student_end == teacher_end and last > first:
            chunks.append((start, stop, first, last))
            start, first = stop, last
    return chunks


def _translate(
    token: int, score: TokenScore, vocabulary: Vocabulary, top_k: int, guard: bool
) -> Target | None:
    """The teacher's alternatives in student ids; None when its numbers cannot be probabilities."""
    if not is_logprob(score.logprob):
        return None
    mass = {token: math.exp(score.logprob)}
    for piece, logprob in score.top:
        if piece == score.token or not is_logprob(logprob):
            continue
        # Where only the student packs digits, a teacher's "2" is the start of every number: an event that the
        # student has no token for. Its mass stays in the tail.
        other = None if guard and piece.isdigit() else _student_id(piece, vocabulary)
        if other is not None:
            mass[other] = mass.get(other, 0.0) + math.exp(logprob)
    if sum(mass.values()) > _MASS_TOLERANCE:
        return None
    kept = sorted(mass, key=lambda other: (other != token, -mass[other]))[:top_k]
    kept.sort(key=lambda other: -mass[other])
    return Target(tuple(kept), tuple(math.log(max(mass[other], 1e-300)) for other in kept))


def _student_id(piece: bytes, vocabulary: Vocabulary) -> int | None:
    if not piece:
        return None
    exact = vocabulary.id_of(piece)
    return vocabulary.first_id(piece) if exact is None else exact


def _certain(token: int) -> Target:
    return Target((token,), (0.0,))


def is_logprob(logprob: float) -> bool:
    """Whether a reported number can be a log-probability: some APIs have one for "practically impossible"."""
    return _SENTINEL < logprob <= math.log(_MASS_TOLERANCE)


def _packs_digits(scores: Sequence[TokenScore]) -> bool:
    return any(
        len(piece) > 1 and piece.isdigit()
        for score in scores
        for piece in (score.token, *(piece for piece, _ in score.top))
    )
