"""Texts as groups of token ids: rows of the dataset, or any pairs with one prompt and chosen response."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve, field, frozen

from dorpo import softlabels
from dorpo.align import Alignment, align, hard, is_logprob
from dorpo.batches import Group, Reason
from dorpo.differences import differing
from dorpo.rendering import to_messages
from dorpo.softlabels import TokenScore
from dorpo.store import Row
from dorpo.tokens import StudentTokens


@frozen
class Response:
    """An answer as text.

    Attributes:
        text: What was answered.
        soft_labels: The teacher's log-probabilities, as `dorpo.softlabels` packs them.
        reason: Why it was rejected, if it was.
    """

    text: str
    soft_labels: bytes | None = field(default=None, repr=False)
    reason: str | None = None


def encode_rows(rows: Iterable[Row], tokens: StudentTokens, *, top_k: int = 20) -> list[Group]:
    """Group rows by prompt and chosen response, in order of first appearance, and tokenize them.

    A rejected response that equals the chosen one, or one already there, teaches nothing and is left out.
    """
    together: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        together.setdefault((row.prompt, row.chosen), []).append(row)
    return [_of_rows(members, tokens, top_k) for members in together.values()]


def _of_rows(rows: Sequence[Row], tokens: StudentTokens, top_k: int) -> Group:
    first = rows[0]
    scored = next((row for row in rows if row.chosen_soft_labels), first)
    return encode_group(
        tokens.prompt(to_messages(first.prompt)),
        Response(first.chosen, scored.chosen_soft_labels),
        [
            Response(row.rejected, _comparable(row, scored.chosen_labels_by), row.reason)
            for row in rows
            if row.rejected
        ],
        tokens,
        top_k=top_k,
        cycle=first.cycle,
        rows=tuple(row.uid for row in rows),
        session=first.session,
    )


def _comparable(row: Row, labeller: str | None) -> bytes | None:
    """The rejected side's soft labels, where they are of the model that gave the chosen side's.

    How much likelier one model finds a text than another model finds another one says nothing.
    """
    return row.rejected_soft_labels if row.rejected_labels_by == labeller else None


def encode_group(
    prompt: Sequence[int],
    chosen: Response,
    rejected: Iterable[Response],
    tokens: StudentTokens,
    *,
    top_k: int = 20,
    **about: Any,
) -> Group:
    """Tokenize the answers to one prompt.

    Args:
        prompt: Its token ids.
        chosen: The better answer.
        rejected: The others; one that equals the chosen one, or one before it, is left out.
        tokens: How the student writes.
        top_k: How many alternatives of the teacher are kept.
        **about: The other attributes of the group.
    """
    others: dict[str, Response] = {}
    for response in rejected:
        if response.text != chosen.text:
            others.setdefault(response.text, response)
    responses = [_Encoded.of(response, tokens) for response in (chosen, *others.values())]
    best, *worse = responses
    return Group(
        prompt=tuple(prompt),
        chosen=tuple(best.ids),
        labels=best.align(tokens, top_k),
        rejected=tuple(tuple(response.ids) for response in worse),
        reasons=tuple(Reason.of(response.reason) for response in others.values()),
        teacher_means=_teacher_means(responses),
        **about,
    )


def mark(group: Group) -> Group:
    """The group with the differences between its chosen response and each rejected one."""
    return evolve(group, differences=tuple(differing(group.chosen, rejected) for rejected in group.rejected))


@frozen
class _Encoded:
    """A response in token ids, their bytes where they join to the text, and the teacher's tokens."""

    ids: list[int]
    pieces: list[bytes] | None
    scores: list[TokenScore]
    text: str

    @classmethod
    def of(cls, response: Response, tokens: StudentTokens) -> _Encoded:
        ids = tokens.response(response.text)
        scored = response.soft_labels
        return cls(
            ids,
            tokens.spell(ids, response.text) if scored else None,
            softlabels.decode(scored) if scored else [],
            response.text,
        )

    def align(self, tokens: StudentTokens, top_k: int) -> Alignment:
        if self.pieces is None:
            return hard(self.ids)
        return align(self.ids, self.pieces, self.scores, tokens.vocabulary, top_k=top_k)

    @property
    def wholly_scored(self) -> bool:
        usable = all(is_logprob(score.logprob) for score in self.scores)
        return bool(self.scores) and usable and softlabels.agrees(self.scores, self.text)

    @property
    def cut_alike(self) -> bool:
        return self.pieces == [*(score.token for score in self.scores if score.token), b""]


def _teacher_means(responses: Sequence[_Encoded]) -> tuple[float, ...]:
    """The teacher's mean log-probability of each response: per token, or per byte where it cuts otherwise.

    Only numbers of one unit can be compared, so the unit is one for all of them.
    """
    scored = [response for response in responses if response.wholly_scored]
    by_token = all(response.cut_alike for response in scored)
    means = []
    for response in responses:
        units = len(response.scores) if by_token else len(response.text.encode("utf-8", "surrogatepass"))
        total = sum(score.logprob for score in response.scores)
        means.append(total / max(units, 1) if response in scored else math.nan)
    return tuple(means)
