"""Preference rows in the formats of TRL, as groups.

A row has `chosen` and `rejected`, and a `prompt` unless both begin with it: texts, which are read as they
are, or lists of messages, which the chat template renders. `rejected` may be empty where the teacher's
log-probabilities are what is learned. Beside them a row may have

    chosen_logprobs, rejected_logprobs    see `dorpo.reported_logprobs`
    rejected_reason (or reason)           see `dorpo.batches.Reason`
    cycle, session                        see `dorpo.batches.Group`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from attrs import define, field, frozen

from dorpo.batches import Group
from dorpo.differences import common_length
from dorpo.encoding import Response, encode_group
from dorpo.reported_logprobs import pack
from dorpo.tokens import StudentTokens, plain_tokens, student_tokens

Messages = list[dict[str, str]]


class PreferenceError(ValueError):
    """Rows that cannot be trained on; one sentence says which and why."""


@frozen
class Preference:
    """A row with its prompt told apart from the responses.

    Attributes:
        prompt: A text, or messages.
        chosen: The response's text.
        rejected: The other one's; empty where there is none.
    """

    prompt: str | Messages
    chosen: str
    rejected: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Preference:
        """Read a row in any of the formats.

        Raises:
            ValueError: It is in none of them; a sentence without its subject says why.
        """
        prompt, chosen, rejected = (row.get(name) for name in ("prompt", "chosen", "rejected"))
        if chosen is None:
            there = ", ".join(row) or "none"
            raise ValueError(f"has no chosen response: name that column chosen (its columns are {there})")
        if isinstance(chosen, str):
            return cls._of_texts(prompt, chosen, rejected)
        return cls._of_messages(prompt, chosen, rejected)

    @classmethod
    def _of_texts(cls, prompt: Any, chosen: str, rejected: Any) -> Preference:
        if not isinstance(prompt, str | None) or not isinstance(rejected, str | None):
            raise ValueError("mixes texts and messages: give all of prompt, chosen and rejected alike")
        if prompt is None:
            if not rejected:
                raise ValueError(
                    "has neither a prompt nor a rejected response that begins with it: add a prompt"
                )
            same = common_length(chosen, rejected)
            # A space belongs to the word that follows it.
            same -= same > 0 and chosen[same - 1] == " "
            prompt, chosen, rejected = chosen[:same], chosen[same:], rejected[same:]
        return cls(prompt, chosen, rejected or "")

    @classmethod
    def _of_messages(cls, prompt: Any, chosen: Any, rejected: Any) -> Preference:
        texts = (prompt, rejected)
        if any(isinstance(part, str) for part in texts) or not _are_messages(chosen):
            raise ValueError("mixes texts and messages: give all of prompt, chosen and rejected alike")
        if prompt is None:
            same = common_length(chosen, rejected) if rejected else len(chosen) - 1
            prompt, chosen, rejected = chosen[:same], chosen[same:], (rejected or [])[same:]
        if not prompt:
            raise ValueError(
                "has no prompt: add one, or let chosen and rejected begin with the same messages"
            )
        answers = [_answer(side) for side in (chosen, rejected or [{"role": "assistant", "content": ""}])]
        return cls([dict(message) for message in prompt], *answers)


def encode_preferences(rows: Iterable[Any], tokenizer: Any, *, top_k: int = 20) -> list[Group]:
    """Group rows by prompt and chosen response, in order of first appearance, and tokenize them.

    Args:
        rows: Mappings, see above: a `datasets.Dataset`, a list of dictionaries, or anything else that yields
            them.
        tokenizer: The student's, of transformers.
        top_k: How many alternatives of the teacher are kept.

    Raises:
        PreferenceError: A row is in no known format.
        dorpo.tokens.TokenizerError: The tokenizer cannot be trained with.
    """
    student = _Tokens(tokenizer)
    members: dict[tuple[tuple[int, ...], str], _Members] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise PreferenceError(
                f"The rows are {type(row).__name__}, not mappings with prompt, chosen and rejected: "
                "of a dataset with several splits, pass one."
            )
        try:
            preference = Preference.of(row)
            prompt, tokens = student.prompt(preference.prompt)
            key = (tuple(prompt), preference.chosen)
            members.setdefault(key, _Members(tokens)).add(number, row, preference)
        except PreferenceError:
            raise
        except ValueError as error:
            raise PreferenceError(f"Row {number} {_predicate(error)}.") from error
    return [found.group(prompt, chosen, top_k) for (prompt, chosen), found in members.items()]


@define
class _Members:
    """Rows with the same prompt and chosen response."""

    tokens: StudentTokens
    rejected: list[Response] = field(factory=list)
    labels: bytes | None = None
    numbers: list[int] = field(factory=list)
    cycle: int = 1
    session: str = ""

    def add(self, number: int, row: Mapping[str, Any], preference: Preference) -> None:
        if not self.numbers:
            self.cycle, self.session = int(row.get("cycle") or 1), str(row.get("session") or "")
        self.numbers.append(number)
        self.labels = self.labels or pack(row.get("chosen_logprobs"))
        if preference.rejected:
            reason = row.get("rejected_reason") or row.get("reason")
            labels = pack(row.get("rejected_logprobs"))
            self.rejected.append(Response(preference.rejected, labels, reason))

    def group(self, prompt: Sequence[int], chosen: str, top_k: int) -> Group:
        return encode_group(
            prompt,
            Response(chosen, self.labels),
            self.rejected,
            self.tokens,
            top_k=top_k,
            cycle=self.cycle,
            rows=tuple(map(str, self.numbers)),
            session=self.session,
        )


@define(slots=False)
class _Tokens:
    """The tokenizer in its two uses, each looked at when the first row needs it."""

    tokenizer: Any

    @cached_property
    def _plain(self) -> StudentTokens:
        return plain_tokens(self.tokenizer)

    @cached_property
    def _chat(self) -> StudentTokens:
        return student_tokens(self.tokenizer)

    def prompt(self, prompt: str | Messages) -> tuple[list[int], StudentTokens]:
        if isinstance(prompt, str):
            ids, tokens = self._plain.text(prompt), self._plain
        else:
            ids, tokens = self._chat.prompt(prompt), self._chat
        if not ids:
            raise ValueError("has an empty prompt: the first token of a response needs one before it")
        return ids, tokens


def _answer(messages: Any) -> str:
    if not _are_messages(messages) or len(messages) != 1 or messages[0].get("role") != "assistant":
        raise ValueError("must have one message of the assistant as each response, after the prompt")
    content = messages[0].get("content")
    if not isinstance(content, str):
        raise ValueError("has a message whose content is no text")
    return content


def _are_messages(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_list and bool(value) and all(isinstance(message, Mapping) for message in value)


def _predicate(error: ValueError) -> str:
    text = str(error)
    return text if text[:1].islower() else f"cannot be read: {text.rstrip('.')}"
