"""The bytes behind a student's token ids.

Decoding a single token is not enough: half of a UTF-8 character decodes to a replacement sign, and some
decoders swallow spaces. The two families of tokenizers spell their vocabulary in known ways, which are read
here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field

_SPACE = "▁"  # SentencePiece's visible space
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class UnknownTokenizerError(ValueError):
    """The tokenizer is neither byte-level nor SentencePiece-like, so its tokens have no known bytes."""


@define(eq=False)
class TokenBytes:
    """A vocabulary as bytes; implements `dorpo.align.Vocabulary`.

    Attributes:
        tokenizer: The `tokenizers.Tokenizer` behind a transformers tokenizer.
        pieces: Bytes of every id, None for control tokens and gaps.
        byte_level: Whether the tokenizer is byte-level; it is SentencePiece-like otherwise.
        packs_digits: Whether some token holds several digits.
    """

    tokenizer: Any
    pieces: list[bytes | None]
    byte_level: bool
    packs_digits: bool = field(init=False)
    _ids: dict[bytes, int] = field(init=False, repr=False)
    _firsts: dict[bytes, int | None] = field(init=False, factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self.packs_digits = any(piece and len(piece) > 1 and piece.isdigit() for piece in self.pieces)
        self._ids = {}
        for token, piece in enumerate(self.pieces):
            if piece:
                self._ids.setdefault(piece, token)

    def id_of(self, piece: bytes) -> int | None:
        """The id whose text is exactly these bytes."""
        return self._ids.get(piece)

    def first_id(self, piece: bytes) -> int | None:
        """The id that this text would begin with; None for broken UTF-8 or when no token fits."""
        if piece not in self._firsts:
            self._firsts[piece] = self._encode_first(piece)
        return self._firsts[piece]

    def spell(self, ids: Sequence[int], text: str) -> list[bytes] | None:
        """The bytes of every token of an encoded text, or None when they do not join to it.

        SentencePiece puts a space before a text; it is taken off the first token again. A tokenizer that
        normalises its input loses the original bytes, which cannot be repaired here.
        """
        pieces = [self.pieces[token] or b"" if token < len(self.pieces) else b"" for token in ids]
        wanted = text.encode("utf-8", "surrogatepass")
        if pieces and b"".join(pieces) == b" " + wanted:
            pieces[0] = pieces[0][1:]
        return pieces if b"".join(pieces) == wanted else None

    def _encode_first(self, piece: bytes) -> int | None:
        try:
            text = piece.decode("utf-8")
        except UnicodeDecodeError:
            return None
        # A newline keeps SentencePiece from putting its own space before the text, and joins nothing itself.
        lead = "" if self.byte_level else "\n"
        ids = self.tokenizer.encode(lead + text, add_special_tokens=False).ids
        if lead:
            newline = self.id_of(b"\n")
            ids = ids[ids.index(newline) + 1 :] if newline in ids else []
        own = self.pieces[ids[0]] if ids else None
        return int(ids[0]) if own and piece.startswith(own) else None


def read(tokenizer: Any) -> TokenBytes:
    """The bytes of every token of a transformers tokenizer.

    Args:
        tokenizer: A fast tokenizer (with a `backend_tokenizer`).

    Raises:
        UnknownTokenizerError: Its vocabulary is spelled in no known way.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise UnknownTokenizerError("The tokenizer has no fast implementation.")
    kinds = set(_types(json.loads(backend.to_str()).get("decoder")))
    vocabulary = backend.get_vocab(with_added_tokens=True)
    pieces: list[bytes | None] = [None] * (max(vocabulary.values(), default=-1) + 1)
    added = backend.get_added_tokens_decoder()
    byte_level = "ByteLevel" in kinds
    if not byte_level and not kinds & {"ByteFallback", "Metaspace"}:
        raise UnknownTokenizerError("The tokenizer is neither byte-level BPE nor SentencePiece.")
    letters = _byte_letters()
    for text, token in vocabulary.items():
        if token in added:
            pieces[token] = None if added[token].special else text.encode()
        elif byte_level:
            pieces[token] = _from_letters(text, letters)
        else:
            pieces[token] = _from_sentencepiece(text)
    return TokenBytes(backend, pieces, byte_level)


def _from_letters(text: str, letters: dict[str, int]) -> bytes | None:
    try:
        return bytes(letters[letter] for letter in text)
    except KeyError:
        return None


def _from_sentencepiece(text: str) -> bytes:
    byte = _BYTE_PIECE.fullmatch(text)
    return bytes([int(byte[1], 16)]) if byte else text.replace(_SPACE, " ").encode()


def _byte_letters() -> dict[str, int]:
    """Byte-level BPE writes every byte as a letter: printable Latin-1 as itself, the rest from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(visible)]
    letters = {chr(byte): byte for byte in visible}
    return letters | {chr(0x100 + place): byte for place, byte in enumerate(hidden)}


def _types(node: Any) -> Iterator[str]:
    """Every component name inside a tokenizer's JSON description."""
    if isinstance(node, dict):
        if isinstance(node.get("type"), str):
            yield node["type"]
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, list):
        for value in node:
            yield from _types(value)
