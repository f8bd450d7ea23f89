"""The objective against full distributions, against plain formulas, and at the edges of floating point."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from dorpo.align import Alignment, Chunk, Kind, Target, hard
from dorpo.batches import Group, collate
from dorpo.loss import LossOptions, chunk_binary_kl, dorpo_loss, topk_kl_and_logps
from dorpo.odds import log1mexp, log_odds, odds_ratio_loss

pytestmark = pytest.mark.train

EDGES = [-1e4, -100.0, -1.0, -0.6931472, -1e-3, -1e-6, -2e-8, -1e-30, -0.0]


def full_kl(teacher_logps, logits):
    return (teacher_logps.exp() * (teacher_logps - logits.log_softmax(-1))).sum(-1)


def distributions(sharpness=3.0, tokens=16, vocabulary=300):
    torch.manual_seed(0)
    teacher = (torch.randn(tokens, vocabulary, dtype=torch.float64) * sharpness).log_softmax(-1)
    student = torch.randn(tokens, vocabulary, dtype=torch.float64) * 2
    return teacher, student


def topk(teacher, k):
    logps, ids = teacher.topk(k, -1)
    return ids, logps, torch.ones_like(ids, dtype=torch.bool)


def kl_of(logits, ids, logps, mask):
    return topk_kl_and_logps(logits, ids[:, 0], ids, logps, mask)[0]


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 6.0])
def test_kl_over_the_whole_vocabulary_is_the_full_kl(sharpness):
    teacher, student = distributions(sharpness)
    torch.testing.assert_close(
        kl_of(student, *topk(teacher, 300)), full_kl(teacher, student), atol=2e-6, rtol=0
    )


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 6.0])
def test_kl_is_a_lower_bound_that_rises_with_k(sharpness):
    teacher, student = distributions(sharpness)
    values = [kl_of(student, *topk(teacher, k)) for k in (1, 5, 20, 100, 299, 300)]
    # A tail of less than a millionth counts as rounding noise.
    noise = 1e-6 * 20
    for smaller, larger in itertools.pairwise(values):
        assert (smaller <= larger + noise).all()
    assert (values[0] >= -noise).all()
    assert (values[2] <= full_kl(teacher, student) + noise).all()


def test_kl_gradient_is_student_minus_the_closest_teacher_that_fits():
    teacher, student = distributions()
    ids, logps, mask = topk(teacher, 20)
    logits = student.clone().requires_grad_()
    kl_of(logits, ids, logps, mask).sum().backward()
    q = student.softmax(-1)
    inside = torch.zeros_like(q, dtype=torch.bool).scatter(-1, ids, True)
    tail = 1 - logps.exp().sum(-1, keepdim=True)
    outside = q.masked_fill(inside, 0)
    closest = torch.where(inside, teacher.exp(), tail * outside / outside.sum(-1, keepdim=True))
    torch.testing.assert_close(logits.grad, q - closest, atol=1e-9, rtol=0)


def test_a_certain_teacher_makes_it_the_negative_log_likelihood():
    _, student = distributions()
    target = torch.arange(16)
    one = torch.zeros(16, 1)
    kl, logps = topk_kl_and_logps(student, target, target[:, None], one, one == 0)
    torch.testing.assert_close(kl, -student.log_softmax(-1)[target, target])
    torch.testing.assert_close(logps, -kl)


def test_padding_and_unlabelled_tokens_change_nothing():
    teacher, student = distributions()
    ids, logps, mask = topk(teacher, 5)
    padded_ids = torch.cat([ids, torch.zeros_like(ids)], -1)
    padded = torch.cat([logps, torch.zeros_like(logps)], -1)
    padded_mask = torch.cat([mask, ~mask], -1)
    padded_mask[3] = False
    logits = student.clone().requires_grad_()
    kl = kl_of(logits, padded_ids, padded, padded_mask)
    expected = kl_of(student, ids, logps, mask)
    expected[3] = 0
    torch.testing.assert_close(kl, expected)
    kl.sum().backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[3] == 0).all()


def test_a_confident_student_is_still_pulled_towards_the_tail():
    logits = torch.full((1, 1000), -30.0)
    logits[0, :2] = torch.tensor([0.0, -1.0])
    logits.requires_grad_()
    logps = torch.tensor([[0.7, 0.25]]).log()
    kl = kl_of(logits, torch.tensor([[0, 1]]), logps, torch.ones(1, 2, dtype=torch.bool))
    kl.sum().backward()
    # The student gives the tail nothing where the teacher gives it 0.05.
    assert logits.grad[0, 2:].sum().item() == pytest.approx(-0.05, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_kl_is_computed_in_float32_whatever_comes_in(dtype):
    teacher, student = distributions()
    logits = student.to(dtype).requires_grad_()
    ids, logps, mask = topk(teacher, 20)
    kl = kl_of(logits, ids, logps.float(), mask)
    assert kl.dtype == torch.float32
    kl.sum().backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("value", [x for x in EDGES if x < -1e-7])
def test_log1mexp_is_exact(value):
    x = torch.tensor(value, dtype=torch.float64)
    assert log1mexp(x).item() == pytest.approx(math.log(-math.expm1(value)), rel=1e-12, abs=1e-40)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rejected", EDGES)
@pytest.mark.parametrize("chosen", EDGES)
def test_the_odds_ratio_is_finite_everywhere(chosen, rejected, dtype):
    chosen_logps = torch.tensor([chosen], dtype=dtype, requires_grad=True)
    rejected_logps = torch.tensor([rejected], dtype=dtype, requires_grad=True)
    losses, delta = odds_ratio_loss(chosen_logps, rejected_logps, torch.tensor([0]))
    losses.sum().backward()
    for tensor in (losses, delta, chosen_logps.grad, rejected_logps.grad):
        assert tensor.isfinite().all()


def test_log_odds_are_those_of_the_probability():
    p = torch.tensor([0.01, 0.5, 0.98])
    torch.testing.assert_close(log_odds(p.log()), torch.logit(p))


def test_soft_labels_stop_pushing_where_they_are_reached():
    wanted = torch.tensor([0.9])
    chosen = torch.tensor([-0.4], requires_grad=True)
    rejected = torch.tensor([-0.9])
    losses, delta = odds_ratio_loss(chosen, rejected, torch.tensor([0]), soft_labels=wanted)
    (slope,) = torch.autograd.grad(losses.sum(), delta)
    torch.testing.assert_close(slope, torch.sigmoid(delta) - wanted)


def test_certain_soft_labels_are_plain_orpo():
    logps = torch.tensor([-0.4, -0.1]), torch.tensor([-0.9, -0.2]), torch.tensor([0, 1])
    torch.testing.assert_close(
        odds_ratio_loss(*logps, soft_labels=torch.ones(2))[0], odds_ratio_loss(*logps)[0]
    )


def test_a_chunk_is_the_kl_of_its_two_events():
    logps = torch.tensor([-0.5, -0.2, -0.3, -1.0], requires_grad=True)
    value = chunk_binary_kl(logps, torch.tensor([-1, 0, 0, -1]), torch.tensor([-0.1]))
    p, q = math.exp(-0.1), math.exp(-0.5)
    assert value.item() == pytest.approx(
        p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)), rel=1e-5
    )
    value.sum().backward()
    slope = (q - p) / (1 - q)
    torch.testing.assert_close(logps.grad, torch.tensor([0.0, slope, slope, 0.0]))


@pytest.mark.parametrize("teacher", EDGES)
@pytest.mark.parametrize("student", EDGES)
def test_chunks_are_finite_everywhere(teacher, student):
    logps = torch.tensor([student], requires_grad=True)
    value = chunk_binary_kl(logps, torch.tensor([0]), torch.tensor([teacher]))
    value.sum().backward()
    assert value.isfinite().all()
    assert logps.grad.isfinite().all()


def scored(ids, chunks=()):
    """Labels of a teacher that gives the text 0.8 and one alternative 0.15, with some tokens in chunks."""
    kinds = [Kind.ONE_TO_ONE] * len(ids)
    targets = [Target((token, (token + 1) % 50), (math.log(0.8), math.log(0.15))) for token in ids]
    for chunk in chunks:
        for place in range(chunk.start, chunk.stop):
            kinds[place], targets[place] = Kind.CHUNK, None
    return Alignment(tuple(kinds), tuple(targets), tuple(chunks))


GROUPS = [
    Group((1, 2, 3), (4, 5, 6), scored((4, 5, 6), [Chunk(1, 3, -0.3)]), ((7, 8), (9, 10, 11, 12)), cycle=2),
    Group((1, 2), (13, 14), hard((13, 14)), ()),
    Group((3,), (15, 16, 17), scored((15, 16, 17)), ((18,),)),
]


def forward(groups, seed=0):
    """Random logits for every response token: the same token in the same place gets the same."""
    batch = collate(groups)
    rows = [
        torch.randn(50, generator=torch.Generator().manual_seed(seed + 1000 * int(t) + int(p)))
        for t, p in zip(batch["target"], batch["position_ids"][batch["source"]], strict=True)
    ]
    logits = torch.stack(rows).requires_grad_()
    names = ("target", "topk_ids", "topk_logps", "topk_mask")
    return batch, logits, topk_kl_and_logps(logits, *(batch[name] for name in names))


def test_without_lambda_or_rejected_the_loss_is_the_kl_alone():
    group = GROUPS[1]
    batch, logits, (kl, logps) = forward([group])
    result = dorpo_loss(kl, logps, batch, LossOptions(beta=0.5))
    nll = -logits.log_softmax(-1)[torch.arange(2), batch["target"]].mean()
    torch.testing.assert_close(result.loss, nll)
    with_rejected, _, (kl, logps) = forward(GROUPS)
    silent = dorpo_loss(kl, logps, with_rejected, LossOptions(beta=0.0))
    weights = with_rejected["group_weight"]
    by_group = torch.stack([_kl_term(group) for group in GROUPS])
    torch.testing.assert_close(silent.loss, (weights * by_group).sum() / weights.sum())


def _kl_term(group):
    batch, _, (kl, logps) = forward([group])
    return dorpo_loss(kl, logps, batch, LossOptions(beta=0.0)).loss


def test_kd_alpha_mixes_in_the_likelihood():
    batch, _, (kl, logps) = forward(GROUPS[:1])
    half = dorpo_loss(kl, logps, batch, LossOptions(beta=0.0, kd_alpha=0.5))
    torch.testing.assert_close(half.loss, 0.5 * half.kd + 0.5 * half.nll)


def test_micro_batches_add_up_to_the_whole_step():
    batch, logits, (kl, logps) = forward(GROUPS)
    whole = dorpo_loss(kl, logps, batch, LossOptions())
    total = batch["group_weight"].sum()
    parts = []
    for group in GROUPS:
        part, _, (kl, logps) = forward([group])
        parts.append(dorpo_loss(kl, logps, part, LossOptions(), total_weight=total).loss)
    torch.testing.assert_close(torch.stack(parts).sum(), whole.loss)
    whole.loss.backward()
    assert logits.grad.isfinite().all()


def test_metrics_count_only_what_defines_them():
    batch, _, (kl, logps) = forward(GROUPS)
    metrics = dorpo_loss(kl, logps, batch, LossOptions()).metrics
    counts = {name: int(metric.count) for name, metric in metrics.items()}
    assert counts["or_loss"] == 2
    assert counts["rewards/accuracies"] == 3
    assert counts["kd_loss"] == 3
    assert (counts["kl/cycle1"], counts["kl/cycle>1"]) == (3, 3)
    # Of three scored tokens one stands alone and two are a chunk, of three others all stand alone.
    assert counts["kl"] == 6
    shares = [metrics[f"kd/{kind}_frac"].total.item() for kind in ("one_to_one", "chunk", "hard")]
    assert shares == [4, 2, 2]


@pytest.mark.parametrize("chunk_kd", ["binary", "alm", "off"])
def test_the_kl_that_is_reported_is_the_same_for_every_objective(chunk_kd):
    batch, _, (kl, logps) = forward(GROUPS)
    options = LossOptions(beta=0.3, kd_alpha=0.5, chunk_kd=chunk_kd)
    found = dorpo_loss(kl, logps, batch, options).metrics["kl"]
    chunk = chunk_binary_kl(logps, batch["chunk_ids"], batch["chunk_logps"]).sum()
    scored = batch["token_kind"] == Kind.ONE_TO_ONE
    torch.testing.assert_close(found.total, (kl[scored].sum() + chunk).detach())


def test_metrics_of_batches_without_pairs_are_empty_not_zero():
    batch, _, (kl, logps) = forward([GROUPS[1]])
    metrics = dorpo_loss(kl, logps, batch, LossOptions()).metrics
    assert metrics["or_loss"].count == 0
    assert metrics["rewards/margins"].count == 0


def test_a_temperature_keeps_the_slope_and_flattens_the_divergence():
    ids, teacher = torch.tensor([0, 0]), torch.tensor([-1.0])
    logps = torch.tensor([-0.4, -0.9], requires_grad=True)
    plain = chunk_binary_kl(logps, ids, teacher, temperature=1.0)
    torch.testing.assert_close(plain, chunk_binary_kl(logps, ids, teacher))
    equal = chunk_binary_kl(torch.tensor([-0.4, -0.6]), ids, teacher, temperature=100.0)
    torch.testing.assert_close(equal, torch.zeros(1), atol=1e-6, rtol=0)
    warm = chunk_binary_kl(logps, ids, teacher, temperature=100.0)
    # Far from certainty both sides are nearly 1, and their distance over the missing rest is what counts.
    slope = torch.autograd.grad(warm.sum(), logps)[0]
    torch.testing.assert_close(slope, torch.full((2,), (-1.3 + 1.0) / 1.3), atol=1e-2, rtol=0)


def test_without_chunks_their_tokens_are_hard_labels():
    batch, _, (kl, logps) = forward(GROUPS[:1])
    found = dorpo_loss(kl, logps, batch, LossOptions(beta=0.0, chunk_kd="off"))
    inside = batch["chunk_ids"] >= 0
    torch.testing.assert_close(found.kd, (kl[batch["seq_ids"] == 0].sum() - logps[inside].sum()) / 3)
