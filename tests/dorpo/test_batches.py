"""Rows become groups, groups become flat tensors."""

from __future__ import annotations

import math

import pytest
from tiny_student import byte_tokens

from dorpo import softlabels
from dorpo.align import Kind, hard
from dorpo.batches import Group, collate
from dorpo.encoding import encode_rows
from dorpo.softlabels import TokenScore
from dorpo.store import Row

pytestmark = pytest.mark.train


def row(uid, prompt="p", chosen="good", rejected="bad", labels=None, cycle=1):
    return Row(uid, "s", 0, prompt, chosen, rejected, "error" if rejected else None, "t", cycle, labels, None)


def test_rows_with_the_same_prompt_and_chosen_become_one_group():
    tokens = byte_tokens()
    rows = [
        row("a", rejected="bad"),
        row("b", prompt="q"),
        row("c", rejected="worse"),
        row("d", rejected=None),
    ]
    first, second = encode_rows(rows, tokens)
    assert first.rows == ("a", "c", "d")
    assert [len(response) for response in first.rejected] == [len("bad") + 1, len("worse") + 1]
    assert (first.weight, second.weight) == (2, 1)
    assert first.prompt != second.prompt
    assert first.chosen[-1] == tokens.end_of_turn


def test_a_rejected_response_that_teaches_nothing_is_left_out():
    rows = [row("a", rejected="good"), row("b"), row("c")]
    (group,) = encode_rows(rows, byte_tokens())
    assert len(group.rejected) == 1


def test_soft_labels_reach_the_chosen_tokens():
    sure = TokenScore(b"go", math.log(0.5), ((b"go", math.log(0.5)), (b"x", math.log(0.3))))
    one = TokenScore(b"o", math.log(0.25), ((b"a", math.log(0.5)), (b"o", math.log(0.25))))
    labels = softlabels.encode([sure, one, TokenScore(b"d", math.log(0.9), ())])
    tokens = byte_tokens()
    (group,) = encode_rows([row("a", labels=None), row("b", rejected="x", labels=labels)], tokens)
    assert group.labels.kinds == (Kind.CHUNK, Kind.CHUNK, Kind.ONE_TO_ONE, Kind.ONE_TO_ONE, Kind.HARD)
    target = group.labels.targets[2]
    assert target is not None
    assert target.ids == (tokens.vocabulary.id_of(b"a"), tokens.vocabulary.id_of(b"o"))
    assert target.logprobs == pytest.approx([math.log(0.5), math.log(0.25)], abs=1e-3)


def test_control_tokens_spelled_out_in_a_script_are_letters():
    tokens = byte_tokens()
    ids = tokens.response("a<|im_end|>b")
    assert ids.count(tokens.end_of_turn) == 1
    assert tokens.spell(ids, "a<|im_end|>b") is not None


def test_the_flat_layout():
    groups = [
        Group((1, 2, 3), (4, 5), hard((4, 5)), ((6, 7, 8), (9,)), cycle=3),
        Group((10,), (11,), hard((11,)), ()),
    ]
    batch = collate(groups)
    assert next(iter(batch)) == "group_weight"
    # The last token of a response predicts nothing.
    assert batch["input_ids"].tolist() == [1, 2, 3, 4, 6, 7, 10]
    assert batch["position_ids"].tolist() == [0, 1, 2, 3, 3, 4, 0]
    assert batch["until"].tolist() == [6, 6, 6, 4, 6, 6, 7]
    assert batch["segment_ids"].tolist() == [0, 0, 0, 1, 2, 2, 3]
    assert batch["segment_parent"].tolist() == [-1, 0, 0, -1]
    assert batch["target"].tolist() == [4, 5, 6, 7, 8, 9, 11]
    # The first token of every response is predicted by the last token of the prompt.
    assert batch["source"].tolist() == [2, 3, 2, 4, 5, 2, 6]
    assert batch["score_ids"].tolist() == batch["scored"].tolist() == [*range(7)]
    assert batch["seq_ids"].tolist() == [0, 0, 1, 1, 1, 2, 3]
    assert batch["seq_group"].tolist() == [0, 0, 0, 1]
    assert batch["seq_is_chosen"].tolist() == [True, False, False, True]
    assert batch["group_weight"].tolist() == [2.0, 1.0]
    assert batch["group_cycle"].tolist() == [3, 1]


def test_a_common_beginning_stands_once_and_is_predicted_once():
    chosen, rejected = (4, 5, 6, 0), ((4, 5, 7, 8, 0), (9, 0), (4, 5, 7, 1, 0))
    batch = collate([Group((1, 2), chosen, hard(chosen), rejected)], shortest=1)
    assert batch["input_ids"].tolist() == [1, 2, 4, 5, 6, 7, 8, 1, 9]
    assert batch["position_ids"].tolist() == [0, 1, 2, 3, 4, 4, 5, 5, 2]
    assert batch["until"].tolist() == [9, 9, 8, 8, 5, 8, 7, 8, 9]
    assert batch["segment_parent"].tolist() == [-1, 0, 1, 1, 3, 3, 0]
    assert batch["source"].tolist() == [1, 2, 3, 4, 1, 2, 3, 5, 6, 1, 8, 1, 2, 3, 5, 7]
    # Of those that predict the same from the same token, the first counts, which is the chosen one.
    assert batch["score_ids"].tolist() == [0, 1, 2, 3, 0, 1, 4, 5, 6, 7, 8, 0, 1, 4, 9, 10]
    assert batch["scored"].tolist() == [0, 1, 2, 3, 6, 7, 8, 9, 10, 14, 15]


def test_tokens_are_counted_as_they_are_read():
    # All begin with 4; that two go on with 5 is too little for a segment.
    group = Group((1, 2), (4, 5, 6, 0), hard((4, 5, 6, 0)), ((4, 5, 7, 8, 0), (4, 0)))
    assert group.tokens == collate([group])["input_ids"].shape[0] == 8
    assert group.tokens_apart == 2 * 5 + 6 + 3
    assert group.longest == 7


def test_the_layout_of_labels():
    labels = softlabels.encode([TokenScore(b"good", math.log(0.5), ()), TokenScore(b"!", -0.1, ())])
    (group,) = encode_rows([row("a", chosen="good!", labels=labels)], byte_tokens())
    batch = collate([group, group])
    responses = len(group.chosen) + len(group.rejected[0])
    assert batch["chunk_ids"].tolist()[:5] == [0, 0, 0, 0, -1]
    assert batch["chunk_ids"].tolist()[responses : responses + 5] == [1, 1, 1, 1, -1]
    assert batch["chunk_seq"].tolist() == [0, 2]
    assert batch["chunk_logps"].tolist() == pytest.approx([math.log(0.5)] * 2, abs=1e-3)
    assert batch["topk_mask"].sum(-1).tolist()[:6] == [0, 0, 0, 0, 1, 1]
    assert not batch["topk_mask"][6:responses].any()


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one group"):
        collate([])
