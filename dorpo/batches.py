"""Rows of the dataset as token batches.

Rows that share prompt and chosen response become one group, so that both are computed once for all their
rejected responses, and so is what these begin with alike, see `dorpo.trie`. A batch is flat and ragged:
nothing is padded, no token stands twice, and only what is predicted in a response meets the vocabulary head.

    prompt | chosen | rejected 1 | rejected 2        prompt | chosen        ← input_ids, group after group
      0        1          2            3                4        5          ← segment_ids
    0 … P-1  P …        P …          P …             0 … P-1   P …          ← position_ids
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import cached_property
from typing import TypedDict, cast

import torch
from attrs import define, field, frozen
from torch import Tensor

from dorpo.align import Alignment, Kind, Target
from dorpo.differences import Difference
from dorpo.trie import SHORTEST, Trie, grow


class Reason(IntEnum):
    """Why a response was rejected, see `dorpo.store`."""

    OTHER = 0  # rows of other origin
    ERROR = 1
    REDO = 2
    FURTHER_EDIT = 3
    AMENDED = 4

    @classmethod
    def of(cls, name: str | None) -> Reason:
        """The reason of a dataset's row."""
        return cls.__members__.get((name or "").upper(), cls.OTHER)


@frozen
class Group:
    """A prompt with its chosen and rejected responses, in the student's tokens.

    Attributes:
        prompt: Token ids, never empty: the first response token is predicted from the last of them.
        chosen: Token ids, ending with the end of the turn.
        labels: One label per chosen token.
        rejected: Token ids of every different rejected response.
        cycle: The cycle the chosen response came from.
        rows: Uids of the dataset rows behind the group.
        session: Where they came from; a session must not be split between training and evaluation.
        reasons: Why each of `rejected` was rejected; unknown where there are none.
        teacher_means: The teacher's length-normalised log-probability of the chosen response and of each of
            `rejected`, in one unit within a group; not a number where it was not asked.
        differences: Between the chosen response and each of `rejected`, see `dorpo.encoding.mark`.
    """

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    labels: Alignment
    rejected: tuple[tuple[int, ...], ...]
    cycle: int = 1
    rows: tuple[str, ...] = field(default=(), repr=False)
    session: str = ""
    reasons: tuple[Reason, ...] = ()
    teacher_means: tuple[float, ...] = ()
    differences: tuple[Difference, ...] = field(default=(), repr=False)

    @property
    def weight(self) -> int:
        """How many pairs of a chosen and a rejected response it stands for, or 1 for a chosen one alone."""
        return max(len(self.rejected), 1)

    @cached_property
    def trie(self) -> Trie:
        """Its texts, with what they have in common."""
        return self.grown(SHORTEST)

    def grown(self, shortest: int) -> Trie:
        """The same, where a segment saves at least so many tokens."""
        return grow(self.prompt, (self.chosen, *self.rejected), shortest=shortest)

    @property
    def tokens(self) -> int:
        """Tokens that are read, each common beginning once."""
        return self.trie.tokens

    @property
    def tokens_apart(self) -> int:
        """Tokens of all its pairs, with the prompt and the chosen response read again for each."""
        rejected = sum(len(self.prompt) + len(response) - 1 for response in self.rejected)
        return self.weight * (len(self.prompt) + len(self.chosen) - 1) + rejected

    @property
    def longest(self) -> int:
        """Tokens of the longest text the student reads at once."""
        return len(self.prompt) + max(len(self.chosen), *map(len, self.rejected), 0)


class Batch(TypedDict):
    """Flat tensors; a plain dict at runtime, as the Trainer wants it.

    G groups, S responses, T segments, L tokens that are read, N response tokens with U different predictions,
    K alternatives, M chunks, D differences.
    """

    group_weight: Tensor  # float [G], pairs; the Trainer takes the batch size from what is first
    group_cycle: Tensor  # long [G]
    input_ids: Tensor  # long [L]
    position_ids: Tensor  # long [L], every segment continues where its parent ends
    until: Tensor  # long [L], index into L of the first token behind all that continue the token's segment
    segment_ids: Tensor  # long [L], index into T
    segment_parent: Tensor  # long [T], index into T or -1
    source: Tensor  # long [N], index into L of the token that predicts
    target: Tensor  # long [N], the token that is predicted
    score_ids: Tensor  # long [N], index into U: the same source and target are the same prediction
    scored: Tensor  # long [U], index into N of its first occurrence, the chosen one if there is one
    seq_ids: Tensor  # long [N], index into S
    seq_group: Tensor  # long [S], index into G
    seq_is_chosen: Tensor  # bool [S]
    seq_reason: Tensor  # long [S], `Reason`
    seq_teacher: Tensor  # float [S], the teacher's mean log-probability or not a number
    pair_token: Tensor  # long [D], index into N of a token that differs within a pair
    pair_seq: Tensor  # long [D], index into S of the pair's rejected response
    token_kind: Tensor  # long [N], `dorpo.align.Kind`
    topk_ids: Tensor  # long [N, K]
    topk_logps: Tensor  # float [N, K]
    topk_mask: Tensor  # bool [N, K], valid entries first
    chunk_ids: Tensor  # long [N], index into M or -1
    chunk_logps: Tensor  # float [M], the teacher's
    chunk_seq: Tensor  # long [M], index into S


def collate(groups: Sequence[Group], *, shortest: int = SHORTEST) -> Batch:
    """Lay groups out flat.

    Args:
        groups: At least one.
        shortest: Fewest tokens that a segment saves, see `dorpo.trie`.

    Raises:
        ValueError: There is no group.
    """
    if not groups:
        raise ValueError("A batch needs at least one group.")
    layout = _Layout()
    for group in groups:
        layout.add(group, group.trie if shortest == SHORTEST else group.grown(shortest))
    return layout.finish()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the model is."""
    return cast(Batch, {name: cast(Tensor, tensor).to(device) for name, tensor in batch.items()})


@define
class _Layout:
    """The flat lists while groups are added; see `Batch` for their meaning."""

    input_ids: list[int] = field(factory=list)
    position_ids: list[int] = field(factory=list)
    until: list[int] = field(factory=list)
    segment_ids: list[int] = field(factory=list)
    segment_parent: list[int] = field(factory=list)
    source: list[int] = field(factory=list)
    target: list[int] = field(factory=list)
    score_ids: list[int] = field(factory=list)
    scored: list[int] = field(factory=list)
    seq_ids: list[int] = field(factory=list)
    seq_group: list[int] = field(factory=list)
    token_kind: list[int] = field(factory=list)
    targets: list[Target | None] = field(factory=list)
    chunk_ids: list[int] = field(factory=list)
    chunk_logps: list[float] = field(factory=list)
    chunk_seq: list[int] = field(factory=list)
    weights: list[float] = field(factory=list)
    cycles: list[int] = field(factory=list)
    chosen: list[bool] = field(factory=list)
    reasons: list[int] = field(factory=list)
    teacher_means: list[float] = field(factory=list)
    pair_token: list[int] = field(factory=list)
    pair_seq: list[int] = field(factory=list)

    def add(self, group: Group, trie: Trie) -> None:
        spans = self._read(trie)
        known: dict[tuple[int, int], int] = {}
        first = len(self.target)
        for branch, response in enumerate((group.chosen, *group.rejected)):
            if branch and group.differences:
                self._mark(group.differences[branch - 1], first)
            places = [place for segment in trie.paths[branch] for place in spans[segment]]
            self._respond(response, places[len(group.prompt) - 1 :], known)
            self.chosen.append(branch == 0)
            if branch == 0:
                self._label(group.labels)
        unlabelled = len(self.target) - len(self.targets)
        self.token_kind += [Kind.NONE] * unlabelled
        self.targets += [None] * unlabelled
        self.chunk_ids += [-1] * unlabelled
        self.reasons += [Reason.OTHER, *(group.reasons or [Reason.OTHER] * len(group.rejected))]
        self.teacher_means += group.teacher_means or [math.nan] * (len(group.rejected) + 1)
        self.weights.append(float(group.weight))
        self.cycles.append(group.cycle)

    def _read(self, trie: Trie) -> list[range]:
        """The places of all segments."""
        above = len(self.segment_parent)
        spans: list[range] = []
        for number, segment in enumerate(trie.segments):
            spans.append(range(len(self.input_ids), len(self.input_ids) + len(segment.ids)))
            self.input_ids += segment.ids
            self.position_ids += range(segment.begin, segment.begin + len(segment.ids))
            self.segment_ids += [above + number] * len(segment.ids)
            self.segment_parent.append(-1 if segment.parent < 0 else above + segment.parent)
        ends = [span.stop for span in spans]
        for number, segment in reversed(list(enumerate(trie.segments[1:], 1))):
            ends[segment.parent] = max(ends[segment.parent], ends[number])
        for end, span in zip(ends, spans, strict=True):
            self.until += [end] * len(span)
        return spans

    def _respond(self, ids: Sequence[int], sources: Sequence[int], known: dict[tuple[int, int], int]) -> None:
        for prediction in zip(sources, ids, strict=True):
            score = known.setdefault(prediction, len(self.scored))
            if score == len(self.scored):
                self.scored.append(len(self.score_ids))
            self.score_ids.append(score)
        self.source += sources
        self.target += ids
        self.seq_ids += [len(self.seq_group)] * len(ids)
        self.seq_group.append(len(self.weights))

    def _mark(self, difference: Difference, first: int) -> None:
        """Before the rejected response of the pair is laid out; its chosen one begins at `first`."""
        places = [first + place for place in difference.chosen]
        places += [len(self.target) + place for place in difference.rejected]
        self.pair_token += places
        self.pair_seq += [len(self.seq_group)] * len(places)

    def _label(self, labels: Alignment) -> None:
        chunk_ids = [-1] * len(labels.kinds)
        for chunk in labels.chunks:
            chunk_ids[chunk.start : chunk.stop] = [len(self.chunk_logps)] * (chunk.stop - chunk.start)
            self.chunk_logps.append(chunk.logprob)
            self.chunk_seq.append(len(self.seq_group) - 1)
        self.chunk_ids += chunk_ids
        self.token_kind += labels.kinds
        self.targets += labels.targets

    def finish(self) -> Batch:
        width = max(1, *(len(target.ids) for target in self.targets if target))
        ids = torch.zeros(len(self.targets), width, dtype=torch.long)
        logps = torch.zeros(len(self.targets), width)
        mask = torch.zeros(len(self.targets), width, dtype=torch.bool)
        for place, target in enumerate(self.targets):
            if target:
                count = len(target.ids)
                ids[place, :count] = torch.tensor(target.ids)
                logps[place, :count] = torch.tensor(target.logprobs)
                mask[place, :count] = True
        return Batch(
            group_weight=torch.tensor(self.weights),
            group_cycle=_long(self.cycles),
            input_ids=_long(self.input_ids),
            position_ids=_long(self.position_ids),
            until=_long(self.until),
            segment_ids=_long(self.segment_ids),
            segment_parent=_long(self.segment_parent),
            source=_long(self.source),
            target=_long(self.target),
            score_ids=_long(self.score_ids),
            scored=_long(self.scored),
            seq_ids=_long(self.seq_ids),
            seq_group=_long(self.seq_group),
            seq_is_chosen=torch.tensor(self.chosen, dtype=torch.bool),
            seq_reason=_long(self.reasons),
            seq_teacher=torch.tensor(self.teacher_means),
            pair_token=_long(self.pair_token),
            pair_seq=_long(self.pair_seq),
            token_kind=_long(self.token_kind),
            topk_ids=ids,
            topk_logps=logps,
            topk_mask=mask,
            chunk_ids=_long(self.chunk_ids),
            chunk_logps=torch.tensor(self.chunk_logps, dtype=torch.float32),
            chunk_seq=_long(self.chunk_seq),
        )


def _long(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.long)
