"""How sure a pair is, and which of its tokens are compared; the same in every way of reading."""

from __future__ import annotations

import math

import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import gradients, group, make
from tiny_student import byte_tokens

from dorpo import softlabels
from dorpo.batches import Reason, collate
from dorpo.configuration import DORPOConfig
from dorpo.differences import Difference, differing
from dorpo.encoding import Response, encode_group, encode_rows, mark
from dorpo.forward import token_scores
from dorpo.loss import LossOptions, dorpo_loss
from dorpo.odds import certainty, odds_ratio_loss
from dorpo.reading import Way
from dorpo.softlabels import TokenScore
from dorpo.staged import staged_backward
from dorpo.store import Row

pytestmark = pytest.mark.train

NOISE = (0.05, 0.01, 0.05, 0.2, 0.05)
LOGPS = st.floats(-60.0, 0.0)
texts = st.lists(st.integers(1, 6), min_size=1, max_size=30)


@given(st.floats(0, 0.5), st.one_of(st.floats(-1e4, 1e4), st.just(math.nan)), st.floats(0, 0.5))
def test_a_pair_is_never_less_sure_than_a_coin(noise, delta, weight):
    (tau,) = certainty(torch.tensor([noise]), torch.tensor([delta]), weight).tolist()
    assert 0.5 <= tau <= 1.0


def test_certainty_is_one_minus_the_noise_and_leans_as_the_teacher_does():
    noise = torch.tensor([0.0, 0.01, 0.2, 0.5])
    torch.testing.assert_close(certainty(noise), 1 - noise)
    unknown = torch.full((4,), math.nan)
    torch.testing.assert_close(certainty(noise, unknown, 0.5), 1 - noise)
    for_it, against = (certainty(noise, torch.full((4,), delta), 0.5) for delta in (1.0, -1.0))
    assert (for_it[1:] > 1 - noise[1:]).all()
    assert (against[1:3] < 1 - noise[1:3]).all()
    # logit(0.8) + 0.5
    assert for_it[2].item() == pytest.approx(1 / (1 + math.exp(-(math.log(4) + 0.5))), abs=1e-6)


@given(LOGPS, LOGPS, st.floats(0.5, 1.0))
def test_gradients_are_finite_at_every_certainty(chosen, rejected, tau):
    sides = torch.tensor([[chosen], [rejected]]).requires_grad_()
    losses, _ = odds_ratio_loss(sides[0], sides[1], torch.tensor([0]), soft_labels=torch.tensor([tau]))
    losses.sum().backward()
    assert losses.isfinite().all()
    assert sides.grad is not None
    assert sides.grad.isfinite().all()


@given(LOGPS, LOGPS)
def test_full_certainty_is_the_loss_of_orpo(chosen, rejected):
    sides = torch.tensor([[chosen], [rejected]])
    hard, _ = odds_ratio_loss(sides[0], sides[1], torch.tensor([0]))
    soft, _ = odds_ratio_loss(sides[0], sides[1], torch.tensor([0]), soft_labels=torch.ones(1))
    torch.testing.assert_close(soft, hard)


def test_the_loss_is_least_where_the_log_odds_are_those_of_the_certainty():
    delta = torch.linspace(-3, 3, 61, requires_grad=True)
    tau = torch.full((61,), 0.8)
    # The log odds of one half are 0, and those of the logistic function are its argument.
    losses, found = odds_ratio_loss(
        torch.nn.functional.logsigmoid(delta),
        torch.full((61,), -math.log(2)),
        torch.arange(61),
        soft_labels=tau,
    )
    torch.testing.assert_close(found, delta, atol=1e-4, rtol=1e-4)
    losses.sum().backward()
    torch.testing.assert_close(delta.grad, delta.detach().sigmoid() - tau, atol=1e-4, rtol=1e-4)


@given(texts, texts)
def test_what_does_not_differ_is_the_same_on_both_sides(chosen, rejected):
    found = differing(chosen, rejected)
    assert (found.chosen == ()) == (chosen == rejected) == (found.rejected == ())
    if len(chosen) == len(rejected) and chosen != rejected:
        places = [place for place, (a, b) in enumerate(zip(chosen, rejected, strict=True)) if a != b]
        assert max(found.chosen) >= places[0]
        assert min(found.chosen) <= places[0]


@given(texts, st.lists(st.integers(7, 12), min_size=1, max_size=30))
def test_texts_without_a_common_token_differ_everywhere(chosen, rejected):
    whole = Difference(tuple(range(len(chosen))), tuple(range(len(rejected))))
    assert differing(chosen, rejected) == whole


def test_a_side_that_leaves_something_out_differs_in_what_it_goes_on_with():
    assert differing([1, 2, 3], [1, 9, 9, 2, 3]) == Difference((1,), (1, 2))
    assert differing([1, 2, 5, 3], [1, 2, 3]) == Difference((2,), (2,))
    assert differing([1, 2, 3], [1, 4, 3]) == Difference((1,), (1,))
    assert differing([1, 2], [1, 2, 2]) == Difference((1,), (2,))


def members(tokens="diff"):
    """Rejected responses that share most of the chosen one, with reasons and what a teacher thought."""
    found = []
    for seed, (prompt, chosen) in enumerate(((5, 9), (3, 12))):
        base = group(prompt, chosen, seed=seed)
        changed = (*base.chosen[:4], 7, 8, *base.chosen[6:])
        longer = (*base.chosen[:2], 9, *base.chosen[2:])
        whole = evolve(
            base,
            rejected=(changed, longer),
            reasons=(Reason.REDO, Reason.FURTHER_EDIT),
            teacher_means=(-0.4, -0.9, math.nan),
        )
        found.append(mark(whole) if tokens == "diff" else whole)
    return found


def options(**changed):
    return LossOptions(beta=0.5, kd_alpha=0.7, label_noise=NOISE, teacher_weight=0.4, **changed)


CHANGES = [
    {"soft_label": "smooth"},
    {"soft_label": "teacher"},
    {"tokens": "diff"},
    {"group_weight": "prompt"},
    {"soft_label": "teacher", "tokens": "diff", "group_weight": "prompt", "chunk_kd": "alm"},
]


@pytest.mark.parametrize("changed", CHANGES)
def test_every_option_changes_the_loss_and_leaves_gradients_finite(changed):
    batch = collate([members()[0], group(2, 4, seed=9)])
    models = [make("llama"), make("llama")]
    losses = []
    for model, asked in zip(models, (options(), options(**changed)), strict=True):
        losses.append(dorpo_loss(*token_scores(model, batch), batch, asked).loss)
        losses[-1].backward()
    assert losses[0].item() != losses[1].item()
    assert gradients(models[1]).isfinite().all()
    assert (gradients(models[0]) - gradients(models[1])).norm() > 1e-4


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("changed", CHANGES)
def test_response_by_response_the_gradients_are_the_same(changed, low_memory):
    batch = collate(members())
    whole, staged = make("llama"), make("llama")
    expected = dorpo_loss(*token_scores(whole, batch, way=Way.SEPARATE), batch, options(**changed))
    expected.loss.backward()
    result = staged_backward(staged, batch, options(**changed), low_memory=low_memory)
    torch.testing.assert_close(result.loss, expected.loss.detach(), atol=1e-5, rtol=0)
    assert (gradients(staged) - gradients(whole)).norm() / gradients(whole).norm() < 1e-5


def test_the_slope_at_a_rejected_response_depends_on_no_other():
    batch = collate([members()[0]])
    count = batch["target"].shape[0]
    asked = options(soft_label="teacher", tokens="diff")
    first, other = (batch["seq_ids"] == seq for seq in (1, 2))
    slopes = []
    for value in (-0.3, -4.0):
        logps = torch.full((count,), -1.0)
        logps[other] = value
        logps.requires_grad_()
        dorpo_loss(torch.zeros(count), logps, batch, asked).loss.backward()
        assert logps.grad is not None
        slopes.append(logps.grad[first])
    torch.testing.assert_close(*slopes)


def test_only_what_differs_is_compared():
    (one, _) = members()
    batch = collate([one])
    logps = torch.full(batch["target"].shape, -1.0)
    same = log_odds_of(batch, logps, tokens="diff")
    common = (batch["seq_ids"] == 1) & (batch["position_ids"][batch["source"]] < len(one.prompt) + 2)
    moved = torch.where(common, -3.0, logps)
    assert log_odds_of(batch, moved, tokens="diff") == same
    assert log_odds_of(batch, moved) != same


def log_odds_of(batch, logps, **changed):
    result = dorpo_loss(torch.zeros_like(logps), logps, batch, options(**changed))
    return result.metrics["log_odds_chosen"].numbers()


def test_texts_without_a_common_token_have_the_loss_over_all_of_them():
    whole = group(4, 6, seed=1)
    apart = evolve(whole, rejected=(tuple(token + 100 for token in whole.chosen),))
    batch = collate([mark(apart)])
    logps = -torch.rand(batch["target"].shape, generator=torch.Generator().manual_seed(1))
    assert log_odds_of(batch, logps, tokens="diff") == pytest.approx(log_odds_of(batch, logps))


def test_prompts_count_the_same_when_asked_for():
    batch = collate([members()[0], group(2, 4, 5, seed=9)])
    model = make("llama")
    each = [
        dorpo_loss(*token_scores(model, part), part, options()).loss
        for part in (collate([members()[0]]), collate([group(2, 4, 5, seed=9)]))
    ]
    found = dorpo_loss(*token_scores(model, batch), batch, options(group_weight="prompt")).loss
    torch.testing.assert_close(found, torch.stack(each).mean())
    by_row = dorpo_loss(*token_scores(model, batch), batch, options()).loss
    torch.testing.assert_close(by_row, (2 * each[0] + each[1]) / 3)


def scores(text, logprob, width=1):
    pieces = [text[at : at + width].encode() for at in range(0, len(text), width)]
    return softlabels.encode([TokenScore(piece, logprob, ()) for piece in pieces])


def test_the_teacher_is_compared_per_token_where_it_cuts_as_the_student_does_and_per_byte_elsewhere():
    tokens = byte_tokens()
    alike = encode_group(
        [1], Response("good", scores("good", -0.5)), [Response("worse", scores("worse", -0.25))], tokens
    )
    assert alike.teacher_means == pytest.approx((-0.5, -0.25), abs=1e-3)
    wider = encode_group(
        [1], Response("good", scores("good", -0.5, 2)), [Response("worse", scores("worse", -0.25))], tokens
    )
    assert wider.teacher_means == pytest.approx((-0.25, -0.25), abs=1e-3)


def test_a_teacher_that_did_not_score_exactly_this_text_is_not_asked():
    another, impossible = scores("other", -1.0), scores("odd", -9999)
    rejected = [Response("bad"), Response("worse", another), Response("odd", impossible)]
    found = encode_group([1], Response("good", scores("good", -0.5)), rejected, byte_tokens())
    assert [math.isnan(mean) for mean in found.teacher_means] == [False, True, True, True]


def test_reasons_and_teachers_of_the_rows_reach_the_batch():
    rows = [
        Row("a", "s", 0, "p", "good", "bad", "error", "t", 1, scores("good", -0.5), scores("bad", -1.0)),
        Row("b", "s", 0, "p", "good", "worse", "redo", "t", 1, None, None),
    ]
    batch = collate(encode_rows(rows, byte_tokens()))
    assert batch["seq_reason"].tolist() == [Reason.OTHER, Reason.ERROR, Reason.REDO]
    assert batch["seq_teacher"][:2].tolist() == pytest.approx([-0.5, -1.0], abs=1e-3)
    assert batch["seq_teacher"][2].isnan()


def test_log_probabilities_of_two_models_are_not_compared():
    labels = scores("good", -0.5), scores("bad", -1.0)
    alike, unlike = (
        Row(uid, "s", 0, uid, "good", "bad", "error", "t", 1, *labels, "teacher", by)
        for uid, by in (("a", "teacher"), ("b", "scorer"))
    )
    same, different = encode_rows([alike, unlike], byte_tokens())
    assert same.teacher_means == pytest.approx((-0.5, -1.0), abs=1e-3)
    assert different.teacher_means[0] == pytest.approx(-0.5, abs=1e-3)
    assert math.isnan(different.teacher_means[1])


def test_the_noise_that_is_not_named_keeps_its_default():
    config = DORPOConfig(output_dir="unused", use_cpu=True, or_label_noise={"redo": 0.1})
    by_reason = dict(zip(Reason, config.loss_options.label_noise, strict=True))
    assert (by_reason[Reason.REDO], by_reason[Reason.ERROR]) == (0.1, 0.01)
