"""The objective against the code of TRL, which computes the same parts: values and gradients."""

from __future__ import annotations

from types import MethodType, SimpleNamespace

import pytest
import torch
from tiny_models import gradients, group, make

from dorpo.batches import collate
from dorpo.forward import token_scores
from dorpo.loss import LossOptions, dorpo_loss, topk_kl_and_logps
from dorpo.odds import odds_ratio_loss

pytestmark = pytest.mark.train

BETA = 0.3
DEVICE = SimpleNamespace(device="cpu", gather_for_metrics=lambda values: values)


@pytest.fixture(autouse=True)
def _experimental(monkeypatch):
    # These trainers say at their import that they may change; the version is pinned.
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")


@pytest.fixture
def orpo():
    """TRL's methods without its trainer, which would want a dataset and a folder."""
    from trl.experimental.orpo import ORPOTrainer

    itself = SimpleNamespace(beta=BETA, accelerator=DEVICE, is_encoder_decoder=False, padding_value=0)
    itself.aux_loss_enabled = False
    itself.concatenated_inputs = ORPOTrainer.concatenated_inputs
    itself.get_batch_logps = ORPOTrainer.get_batch_logps
    for name in ("odds_ratio_loss", "concatenated_forward", "get_batch_loss_metrics"):
        setattr(itself, name, MethodType(getattr(ORPOTrainer, name), itself))
    return itself


def test_the_odds_ratio_is_trls(orpo):
    torch.manual_seed(0)
    ours = (-torch.rand(2, 50) * 5 - 1e-3).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    losses, delta = odds_ratio_loss(ours[0], ours[1], torch.arange(50))
    expected, _, _, log_odds_ratio, log_odds_chosen = orpo.odds_ratio_loss(*theirs)
    torch.testing.assert_close(BETA * losses, -expected)
    torch.testing.assert_close(delta.mean(), log_odds_chosen)
    torch.testing.assert_close(-losses.mean(), log_odds_ratio)
    (BETA * losses).sum().backward()
    (-expected).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def trl_rows(members):
    """The groups as TRL has them: a row for every rejected response, prompt and chosen in each."""
    for member in members:
        for rejected in member.rejected:
            row = {}
            for side, response in (("chosen", member.chosen), ("rejected", rejected)):
                ids = torch.tensor([[*member.prompt, *response]])
                labels = ids.clone()
                labels[:, : len(member.prompt)] = -100
                tensors = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
                row |= {f"{side}_{name}": tensor for name, tensor in tensors.items()}
            yield row


def our_loss(model, members):
    batch = collate(members)
    return dorpo_loss(*token_scores(model, batch), batch, LossOptions(beta=BETA)).loss


def agree(ours, loss, theirs, expected):
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    loss.backward()
    expected.backward()
    assert (gradients(ours) - gradients(theirs)).norm() / gradients(theirs).norm() < 1e-5


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_grouped_hard_labels_have_trls_loss_and_gradient(orpo, name):
    # TRL's likelihood counts the prompt's tokens too, but never the first: with one, it is the response's.
    members = [group(1, 9, 12, 5, 20, seed=1), group(1, 30, 7, seed=2)]
    ours, theirs = make(name), make(name)
    expected = torch.stack([orpo.get_batch_loss_metrics(theirs, row)[0] for row in trl_rows(members)]).mean()
    agree(ours, our_loss(ours, members), theirs, expected)


def test_long_prompts_have_the_loss_and_gradient_of_trls_forward(orpo):
    members = [group(15, 9, 12, 5, 20, seed=1), group(6, 30, 7, seed=2)]
    ours, theirs = make("llama"), make("llama")
    losses = []
    for row in trl_rows(members):
        chosen, rejected, *_ = orpo.concatenated_forward(theirs, row)
        losses.append(-chosen.mean() - orpo.odds_ratio_loss(chosen, rejected)[0].mean())
    agree(ours, our_loss(ours, members), theirs, torch.stack(losses).mean())


def distributions(tokens=12, vocabulary=80):
    torch.manual_seed(0)
    teacher = torch.randn(tokens, vocabulary) * 2
    return teacher, torch.randn(tokens, vocabulary).requires_grad_()


def kl_and_slope(logits, teacher_logits, k):
    logps, ids = teacher_logits.log_softmax(-1).topk(k)
    kl = topk_kl_and_logps(logits, ids[:, 0], ids, logps, torch.ones_like(ids, dtype=torch.bool))[0].mean()
    return kl, torch.autograd.grad(kl, logits)[0]


def test_kl_over_the_whole_vocabulary_is_trls_distillation():
    from trl.experimental.gkd import GKDTrainer

    teacher, student = distributions()
    kl, slope = kl_and_slope(student, teacher, teacher.shape[1])
    expected = GKDTrainer.generalized_jsd_loss(student, teacher, beta=0.0)
    torch.testing.assert_close(kl, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, student)[0])


@pytest.mark.parametrize("k", [1, 5, 20])
def test_kl_of_the_top_alternatives_and_a_tail_is_trls_distillation_from_a_server(k):
    from trl.experimental.server_distillation import ServerDistillationTrainer

    teacher, student = distributions()
    kl, slope = kl_and_slope(student, teacher, k)
    logps, ids = teacher.log_softmax(-1)[None].topk(k)
    itself = SimpleNamespace(
        loss_add_tail=True, _reduce_divergence_loss=ServerDistillationTrainer._reduce_divergence_loss
    )
    expected = ServerDistillationTrainer._compute_server_forward_kl_loss(
        itself,
        {"topk_logprobs": logps, "topk_token_ids": ids},
        student.log_softmax(-1)[None],
        torch.zeros(ids.shape[:2], dtype=torch.long),
    )
    torch.testing.assert_close(kl, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, student)[0], atol=1e-6, rtol=1e-4)
