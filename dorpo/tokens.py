"""How the student reads a prompt and writes a response, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from dorpo.token_bytes import TokenBytes, UnknownTokenizerError, read

# Any text that no template would change.
_PROBE = "probe"


class TokenizerError(ValueError):
    """The student's tokenizer cannot be trained with; one sentence says why."""


@frozen(eq=False)
class StudentTokens:
    """A chat model's tokenizer, used the one way in which training and later use agree.

    Attributes:
        tokenizer: Of transformers.
        vocabulary: Its tokens as bytes.
        end_of_turn: The id with which the model ends its answer.
    """

    tokenizer: Any
    vocabulary: TokenBytes
    end_of_turn: int

    def prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """The rendered conversation up to where the model's answer begins."""
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def response(self, text: str) -> list[int]:
        """An answer, encoded by itself so that it is the same after every prompt, and the end of the turn.

        Control tokens spelled out in the text are ordinary letters here: a script that mentions one must not
        end the student's turn.
        """
        ids = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return [*ids, self.end_of_turn]

    def text(self, text: str) -> list[int]:
        """A prompt that is no conversation, read as it is."""
        ids = list(self.tokenizer.encode(text, add_special_tokens=False))
        begin = self.tokenizer.bos_token_id
        return ids if begin is None or ids[:1] == [begin] else [begin, *ids]

    def spell(self, ids: Sequence[int], text: str) -> list[bytes] | None:
        """The bytes of a response's ids, none for the last; None when they do not join to the text."""
        pieces = self.vocabulary.spell(ids[:-1], text)
        return None if pieces is None else [*pieces, b""]


def student_tokens(tokenizer: Any) -> StudentTokens:
    """Learn what training must know about a tokenizer.

    Raises:
        TokenizerError: It has no chat template, no end of a turn, or tokens of unknown bytes.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise TokenizerError(
            "The student has no chat template: choose a model that was tuned to follow instructions."
        )
    return StudentTokens(tokenizer, _vocabulary(tokenizer), _end_of_turn(tokenizer))


@frozen(eq=False)
class PlainTokens(StudentTokens):
    """The same for texts without a conversation, whose control tokens are meant as such."""

    def response(self, text: str) -> list[int]:
        """A continuation, encoded by itself so that it is the same after every prompt, and the text's end."""
        ids = list(self.tokenizer.encode(text, add_special_tokens=False))
        return ids if ids[-1:] == [self.end_of_turn] else [*ids, self.end_of_turn]


def plain_tokens(tokenizer: Any) -> StudentTokens:
    """Learn the same for texts that no chat template renders.

    Raises:
        TokenizerError: It has no end of a text, or tokens of unknown bytes.
    """
    if tokenizer.eos_token_id is None:
        raise TokenizerError("The student's tokenizer has no token that ends a text.")
    return PlainTokens(tokenizer, _vocabulary(tokenizer), int(tokenizer.eos_token_id))


def _vocabulary(tokenizer: Any) -> TokenBytes:
    try:
        return read(tokenizer)
    except UnknownTokenizerError as error:
        raise TokenizerError(f"The student cannot be trained: {error}") from error


def _end_of_turn(tokenizer: Any) -> int:
    """What the chat template puts after an answer; some models' end of text is another token."""
    messages = [{"role": "user", "content": _PROBE}, {"role": "assistant", "content": _PROBE}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    after = text[text.rindex(_PROBE) + len(_PROBE) :] if _PROBE in text else ""
    special = set(tokenizer.all_special_ids)
    for token in tokenizer.encode(after, add_special_tokens=False):
        if token in special:
            return int(token)
    if tokenizer.eos_token_id is None:
        raise TokenizerError("The student's tokenizer has no token that ends an answer.")
    return int(tokenizer.eos_token_id)
