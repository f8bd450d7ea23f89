"""Rows of the dataset as token batches.

Rows that share prompt and chosen response become one group, so that both are computed once for all their
rejected responses. A batch is flat and ragged: nothing is padded, and only response tokens meet the
vocabulary head.

    prompt | chosen | rejected 1 | rejected 2        prompt | chosen        ← input_ids, group after group
      -1       0          1            2                -1       0          ← branch_ids
    0 … P-1  P …        P …          P …             0 … P-1   P …          ← position_ids
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TypedDict, cast

import torch
from attrs import define, field, frozen
from torch import Tensor

from dorpo.align import Alignment, Kind, Target
from dorpo.differences import Difference


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

    @property
    def tokens(self) -> int:
        """Tokens, with the prompt counted once."""
        return len(self.prompt) + len(self.chosen) + sum(map(len, self.rejected))

    @property
    def tokens_apart(self) -> int:
        """Tokens of all its pairs, with the prompt and the chosen response read again for each."""
        rejected = sum(map(len, self.rejected)) + len(self.prompt) * len(self.rejected)
        return self.weight * (len(self.prompt) + len(self.chosen)) + rejected

    @property
    def longest(self) -> int:
        """Tokens of the longest text the student reads at once."""
        return len(self.prompt) + max(len(self.chosen), *map(len, self.rejected), 0)


class Batch(TypedDict):
    """Flat tensors; a plain dict at runtime, as the Trainer wants it.

    G groups, S responses, L tokens, N response tokens, K alternatives, M chunks, D differences.
    """

    group_weight: Tensor  # float [G], pairs; the Trainer takes the batch size from what is first
    group_cycle: Tensor  # long [G]
    input_ids: Tensor  # long [L]
    position_ids: Tensor  # long [L], every response continues where its prompt ends
    branch_ids: Tensor  # long [L], -1 prompt, 0 chosen, 1… rejected
    group_ids: Tensor  # long [L]
    source: Tensor  # long [N], index into L of the token that predicts
    target: Tensor  # long [N], the token that is predicted
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


def collate(groups: Sequence[Group]) -> Batch:
    """Lay groups out flat.

    Raises:
        ValueError: There is no group.
    """
    if not groups:
        raise ValueError("A batch needs at least one group.")
    layout = _Layout()
    for group in groups:
        layout.add(group)
    return layout.finish()


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the model is."""
    return cast(Batch, {name: cast(Tensor, tensor).to(device) for name, tensor in batch.items()})


@define
class _Layout:
    """The flat lists while groups are added; see `Batch` for their meaning."""

    input_ids: list[int] = field(factory=list)
    position_ids: list[int] = field(factory=list)
    branch_ids: list[int] = field(factory=list)
    group_ids: list[int] = field(factory=list)
    source: list[int] = field(factory=list)
    target: list[int] = field(factory=list)
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

    def add(self, group: Group) -> None:
        self._extend(group.prompt, range(len(group.prompt)), branch=-1)
        predictor, first = len(self.input_ids) - 1, len(self.target)
        self._respond(group.chosen, group, 0, predictor)
        self._label(group.labels)
        for branch, response in enumerate(group.rejected, 1):
            if group.differences:
                self._mark(group.differences[branch - 1], first)
            self._respond(response, group, branch, predictor)
            self.token_kind += [Kind.NONE] * len(response)
            self.targets += [None] * len(response)
            self.chunk_ids += [-1] * len(response)
        self.reasons += [Reason.OTHER, *(group.reasons or [Reason.OTHER] * len(group.rejected))]
        self.teacher_means += group.teacher_means or [math.nan] * (len(group.rejected) + 1)
        self.weights.append(float(group.weight))
        self.cycles.append(group.cycle)

    def _extend(self, ids: Sequence[int], positions: Iterable[int], branch: int) -> None:
        self.input_ids += ids
        self.position_ids += positions
        self.branch_ids += [branch] * len(ids)
        self.group_ids += [len(self.weights)] * len(ids)

    def _respond(self, ids: Sequence[int], group: Group, branch: int, predictor: int) -> None:
        start = len(self.input_ids)
        begin = len(group.prompt)
        self._extend(ids, range(begin, begin + len(ids)), branch)
        self.source += [predictor, *range(start, start + len(ids) - 1)]
        self.target += ids
        self.seq_ids += [len(self.seq_group)] * len(ids)
        self.seq_group.append(len(self.weights))
        self.chosen.append(branch == 0)

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
            branch_ids=_long(self.branch_ids),
            group_ids=_long(self.group_ids),
            source=_long(self.source),
            target=_long(self.target),
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
