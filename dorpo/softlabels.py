r"""Soft labels as bytes: a teacher's top log-probabilities for every token of a response.

Tokens are kept as bytes, because API teachers report no ids and a token may be half of a UTF-8 character.

Layout, version 1, all little-endian, compressed as a whole with zlib:

    u8 version | u32 tokens n | u8 columns k | u32 strings s | u8 index width w (2 or 4)
    u16 length[s] | the strings' bytes, the most frequent first
    u8 entries[n]                 how many of the k columns a token fills
    u8 rank[n]                    which column is the token itself, 255 when none is
    index[n, k]                   of each entry's string
    u16 step[k, n]                from the magnitude of one column to the next, zero beyond a token's entries
    index[m], u16 magnitude[m]    of the m tokens with rank 255

A magnitude is the bit pattern of minus the log-probability in float16: it grows along a sorted row, so its
steps are small numbers. Numbers of more than a byte are stored as byte planes, which puts the quiet high
bytes side by side. Together that is 60 bytes a token at top-20. Float16 moves a usual log-probability by less
than 0.01 nat, a KL divergence by less than 1e-6.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

MAX_TOP = 20

_HEADER = struct.Struct("<BIBIB")
_VERSION = 1
_ABSENT = 255
_LONGEST_TOKEN = 0xFFFF
# Some APIs report -9999 for "practically impossible", others -inf: both must stay finite in float16.
_LOWEST = -60000.0


@frozen
class TokenScore:
    """What a teacher thought at one position.

    Attributes:
        token: The bytes of the token that was written.
        logprob: Its natural log-probability.
        top: The most probable tokens and their natural log-probabilities, descending, at most 20.
    """

    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...]


def encode(tokens: Sequence[TokenScore]) -> bytes:
    """Pack soft labels; top entries are sorted, and those after the twentieth are dropped.

    Raises:
        ValueError: A log-probability is not a number, or a token is longer than 65,535 bytes.
    """
    tops = [sorted(score.top, key=lambda entry: -entry[1])[:MAX_TOP] for score in tokens]
    strings = _by_frequency(tokens, tops)
    columns = max((len(top) for top in tops), default=0)
    index = np.zeros((len(tokens), columns), np.uint32)
    magnitude = np.zeros((columns, len(tokens)), np.uint16)
    rank = np.full(len(tokens), _ABSENT, np.uint8)
    own: list[tuple[int, int]] = []
    for position, (score, top) in enumerate(zip(tokens, tops, strict=True)):
        entries = [(strings[token], _magnitude(logprob)) for token, logprob in top]
        for column, entry in enumerate(entries):
            index[position, column], magnitude[column, position] = entry
        written = (strings[score.token], _magnitude(score.logprob))
        if written in entries:
            rank[position] = entries.index(written)
        else:
            own.append(written)
    steps = np.diff(np.maximum.accumulate(magnitude, axis=0), axis=0, prepend=np.uint16(0))
    width = 2 if len(strings) <= 1 << 16 else 4
    parts = [
        _HEADER.pack(_VERSION, len(tokens), columns, len(strings), width),
        _lengths(strings),
        b"".join(strings),
        np.array([len(top) for top in tops], np.uint8).tobytes(),
        rank.tobytes(),
        _planes(index.astype(f"<u{width}")),
        _planes(steps.astype("<u2")),
        _planes(np.array([string for string, _ in own], f"<u{width}")),
        _planes(np.array([magnitude for _, magnitude in own], "<u2")),
    ]
    return zlib.compress(b"".join(parts), 9)


def decode(data: bytes) -> list[TokenScore]:
    """Unpack what `encode` packed.

    Raises:
        ValueError: The bytes are damaged, or written by a newer version.
    """
    try:
        reader = _Reader(zlib.decompress(data))
        version, count, columns, table, width = _HEADER.unpack(reader.take(_HEADER.size))
    except (zlib.error, struct.error) as error:
        raise ValueError(f"These soft labels are damaged ({error}).") from error
    if version != _VERSION:
        raise ValueError(f"These soft labels have format {version}, which this version cannot read.")
    if width not in (2, 4):
        raise ValueError("These soft labels are damaged (their index width is impossible).")
    strings = [reader.take(int(length)) for length in reader.numbers("<u2", table)]
    filled, rank = reader.numbers("u1", count), reader.numbers("u1", count)
    index = reader.planes(f"<u{width}", columns * count).reshape(count, columns)
    steps = reader.planes("<u2", columns * count).reshape(columns, count)
    logprobs = _logprobs(np.cumsum(steps, axis=0, dtype=np.uint16))
    absent = int((rank == _ABSENT).sum())
    own_index, own_logprobs = reader.planes(f"<u{width}", absent), _logprobs(reader.planes("<u2", absent))
    own = zip(own_index.tolist(), own_logprobs.tolist(), strict=True)
    try:
        return [
            _token(strings, row, values, entries, place, own)
            for row, values, entries, place in zip(
                index.tolist(), logprobs.T.tolist(), filled.tolist(), rank.tolist(), strict=True
            )
        ]
    except (IndexError, StopIteration) as error:
        raise ValueError("These soft labels are damaged (a token is missing).") from error


def spelling(scores: Sequence[TokenScore], text: str) -> list[TokenScore] | None:
    """The scores of exactly this text; None when they are of another, or are no probabilities.

    Some servers report the special tokens that end an answer too: those are cut off.
    """
    kept, rest = [], text.encode("utf-8", "surrogatepass")
    for score in scores:
        if not rest:
            break
        kept.append(score)
        rest = rest[len(score.token) :]
    short = all(len(token) <= _LONGEST_TOKEN for s in kept for token in (s.token, *(t for t, _ in s.top)))
    numbers = all(_is_logprob(value) for s in kept for value in (s.logprob, *(p for _, p in s.top)))
    return kept if kept and short and numbers and agrees(kept, text) else None


def _is_logprob(value: float) -> bool:
    return value <= 0.001  # rounding may end a hair above zero; not a number compares false


def agrees(tokens: Sequence[TokenScore], text: str) -> bool:
    """Whether the tokens, joined, are exactly this text in UTF-8."""
    return b"".join(score.token for score in tokens) == text.encode("utf-8", "surrogatepass")


def _token(
    strings: list[bytes], row: list[int], values: list[float], entries: int, place: int, own: Any
) -> TokenScore:
    top = tuple((strings[row[column]], values[column]) for column in range(entries))
    if place == _ABSENT:
        string, logprob = next(own)
        return TokenScore(strings[string], logprob, top)
    return TokenScore(*top[place], top)


def _by_frequency(
    tokens: Sequence[TokenScore], tops: Sequence[Sequence[tuple[bytes, float]]]
) -> dict[bytes, int]:
    """Number the strings, the most frequent first: most numbers then need their low byte only."""
    counts = Counter(token for top in tops for token, _ in top)
    counts.update(score.token for score in tokens)
    return {token: number for number, (token, _) in enumerate(counts.most_common())}


def _magnitude(logprob: float) -> int:
    if logprob != logprob:
        raise ValueError("A log-probability is not a number.")
    # Rounding in a softmax can end a hair above zero. The order in max() matters: it keeps minus zero out.
    return int(np.float16(min(max(0.0, -logprob), -_LOWEST)).view(np.uint16))


def _logprobs(magnitude: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return -magnitude.astype(np.uint16).view(np.float16).astype(np.float64)


def _lengths(strings: dict[bytes, int]) -> bytes:
    longest = max(map(len, strings), default=0)
    if longest > 0xFFFF:
        raise ValueError(f"A token of {longest} bytes is too long for soft labels.")
    return np.array([len(string) for string in strings], "<u2").tobytes()


def _planes(numbers: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, numbers.itemsize).T.tobytes()


class _Reader:
    """Takes pieces off the front of a byte string, and notices when it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ValueError("These soft labels are damaged (they end too early).")
        self._at += size
        return piece

    def numbers(self, kind: str, count: int) -> npt.NDArray[Any]:
        return np.frombuffer(self.take(count * np.dtype(kind).itemsize), kind)

    def planes(self, kind: str, count: int) -> npt.NDArray[Any]:
        size = np.dtype(kind).itemsize
        planes = np.frombuffer(self.take(count * size), np.uint8).reshape(size, count)
        return np.ascontiguousarray(planes.T).view(kind).reshape(count)
