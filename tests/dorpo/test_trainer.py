"""The trainer against an independent computation of the same objective, row by row; and that it learns."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_models import make
from tiny_student import byte_tokens, llama
from torch.nn.functional import logsigmoid
from transformers import TrainerCallback

from dorpo import softlabels
from dorpo.batches import collate
from dorpo.encoding import encode_rows
from dorpo.evaluation.figures import summarize
from dorpo.evaluation.measuring import measure
from dorpo.softlabels import TokenScore
from dorpo.store import Row
from dorpo.student import LoraSettings, add_adapters
from dorpo.trainer import DORPOConfig, DORPOTrainer

pytestmark = pytest.mark.train

BETA = 0.3


def labels(text: str) -> bytes:
    """A teacher of single bytes that gives the text 0.7, its successor 0.2, and 0.1 to the rest."""
    return softlabels.encode(
        [
            TokenScore(
                bytes([byte]),
                math.log(0.7),
                ((bytes([byte]), math.log(0.7)), (bytes([byte + 1]), math.log(0.2))),
            )
            for byte in text.encode()
        ]
    )


def row(uid: str, prompt: str, chosen: str, rejected: str | None, soft: bool = True) -> Row:
    reason = "error" if rejected else None
    found = labels(chosen) if soft else None
    return Row(uid, f"session {prompt}", 0, prompt, chosen, rejected, reason, "teacher", 1, found, None)


ROWS = [
    row("a", "say one", "one!", "two"),
    row("b", "say one", "one!", "three??"),
    row("c", "say two", "two", "one", soft=False),
    row("d", "say three", "three", None),
]


@pytest.fixture
def groups():
    return encode_rows(ROWS, byte_tokens())


def trainer(model, groups, folder: Path, **options) -> DORPOTrainer:
    defaults = {"beta": BETA, "max_steps": 1, "learning_rate": 1e-2, "save_strategy": "no", "use_cpu": True}
    return DORPOTrainer(model, DORPOConfig(output_dir=str(folder), **{**defaults, **options}), groups)


def plain_loss(model, rows) -> torch.Tensor:
    """The mean over rows, every text by itself, with nothing of ours but the student's tokens."""
    tokens = byte_tokens()
    losses = []
    for record in rows:
        prompt = tokens.prompt(_messages(record.prompt))
        chosen = _logits(model, prompt, tokens.response(record.chosen))
        kl = _mean_kl(*chosen, soft=record.chosen_soft_labels is not None)
        if record.rejected is None:
            losses.append(kl)
            continue
        rejected = _logits(model, prompt, tokens.response(record.rejected))
        better, worse = (_log_odds(*side) for side in (chosen, rejected))
        losses.append(kl - BETA * logsigmoid(better - worse))
    return torch.stack(losses).mean()


def _messages(prompt):
    from dorpo.rendering import to_messages

    return to_messages(prompt)


def _logits(model, prompt, response):
    logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].double()
    return logits.log_softmax(-1), torch.tensor(response)


def _log_odds(logps, response):
    mean = logps.gather(-1, response[:, None]).mean()
    return mean - torch.log(1 - mean.exp())


def _mean_kl(logps, response, soft):
    total = torch.zeros((), dtype=torch.float64)
    for place, token in enumerate(response):
        q = logps[place].exp()
        if not soft or place == len(response) - 1:
            total = total - logps[place, token]
            continue
        other = byte_tokens().vocabulary.id_of(bytes([byte_tokens().vocabulary.pieces[token][0] + 1]))
        events = torch.stack([q[token], q[other], 1 - q[token] - q[other]])
        p = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
        total = total + (p * (p.log() - events.log())).sum()
    return total / len(response)


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double()


def test_grouped_rows_have_the_loss_and_gradient_of_separate_rows(groups, tmp_path):
    grouped, plain = llama(), llama()
    loss = trainer(grouped, groups, tmp_path).compute_loss(grouped, collate(groups))
    loss.backward()
    expected = plain_loss(plain, ROWS)
    expected.backward()
    # Soft labels are stored as float16.
    assert loss.item() == pytest.approx(expected.item(), abs=2e-4)
    difference = (gradients(grouped) - gradients(plain)).norm() / gradients(plain).norm()
    assert difference < 2e-3


@pytest.mark.parametrize(
    "options",
    [
        {"low_memory": True},
        {"prefix_sharing": "off"},
        {"prefix_sharing": "tree"},
        {"activation_checkpointing": True},
    ],
)
def test_the_other_ways_of_computing_it_take_the_same_step(groups, tmp_path, options):
    models = []
    for chosen in ({}, options):
        model = add_adapters(llama(), LoraSettings())
        sgd = {"optim": "sgd", "learning_rate": 1.0, "warmup_steps": 0, "max_grad_norm": 0.0}
        running = trainer(model, groups, tmp_path, per_device_train_batch_size=3, **sgd, **chosen)
        running.train()
        loss = running.state.log_history[0]["loss"]
        models.append((loss, torch.cat([p.detach().flatten() for p in model.parameters()])))
    (loss, weights), (other_loss, other_weights) = models
    assert other_loss == pytest.approx(loss, abs=1e-5)
    torch.testing.assert_close(other_weights, weights, atol=1e-6, rtol=0)


def test_low_memory_is_refused_where_its_gradients_would_be_wrong(groups, tmp_path):
    with pytest.raises(ValueError, match="low_memory needs"):
        trainer(llama(), groups, tmp_path, low_memory=True, prefix_sharing="off")
    dropping = make("llama", vocab_size=259, attention_dropout=0.1)
    with pytest.raises(ValueError, match="no dropout"):
        trainer(dropping, groups, tmp_path, low_memory=True)


def test_a_model_changed_after_the_choice_is_not_trained(groups, tmp_path):
    model = llama()
    running = trainer(model, groups, tmp_path)
    model.activation_checkpointing_enable()
    with pytest.raises(ValueError, match=r"changed after .* checkpointing drops the keys and values"):
        running.train()


def test_what_is_chosen_is_logged_once_with_its_reason(groups, tmp_path, caplog):
    caplog.set_level("INFO", "dorpo.trainer")
    trainer(llama(), groups, tmp_path, max_steps=2, activation_checkpointing=True).train()
    (line,) = [record.message for record in caplog.records if record.name == "dorpo.trainer"]
    assert line.startswith("Prompt and responses of a group are read in one row")


def test_an_optimizer_step_does_not_depend_on_its_micro_batches(groups, tmp_path):
    models = []
    ways = [
        {"per_device_train_batch_size": 3},
        {"gradient_accumulation_steps": 3},
        {"groups_per_step": 3},
        {"groups_per_step": 3, "max_tokens_per_batch": 500, "prefix_sharing": "tree"},
        {"groups_per_step": 3, "max_tokens_per_batch": 500, "prefix_sharing": "off"},
    ]
    for options in ways:
        model = llama()
        trainer(
            model,
            groups,
            tmp_path,
            **options,
            max_grad_norm=0.0,
            optim="sgd",
            learning_rate=1.0,
            warmup_steps=0,
        ).train()
        models.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    for weights in models[1:]:
        torch.testing.assert_close(weights, models[0], atol=1e-6, rtol=0)
    assert (models[0] - torch.cat([p.flatten() for p in llama().parameters()])).norm() > 1e-3


def test_groups_are_packed_by_tokens(groups, tmp_path):
    budget = groups[0].tokens + groups[1].tokens
    options = {"groups_per_step": 3, "max_tokens_per_batch": budget, "prefix_sharing": "tree"}
    running = trainer(llama(), groups, tmp_path, **options)
    drawn = iter(running.get_train_dataloader())
    turns, weight = running.get_batch_samples(drawn, 3, torch.device("cpu"))
    packed = sorted(len(batch["group_weight"]) for turn in turns for batch in turn)
    assert packed == [1, 2]
    assert weight == sum(group.weight for group in groups)
    assert running.get_batch_samples(drawn, 3, torch.device("cpu")) == ([], None)


def test_the_loss_falls(groups, tmp_path):
    model = add_adapters(llama(), LoraSettings())
    before = summarize(measure(model, groups))
    running = trainer(model, groups, tmp_path, max_steps=6, per_device_train_batch_size=3, warmup_steps=0)
    running.train()
    losses = [entry["loss"] for entry in running.state.log_history if "loss" in entry]
    after = summarize(measure(model, groups))
    assert losses[-1] < losses[0] - 0.1
    assert after.chosen_perplexity < before.chosen_perplexity
    assert after.kl is not None
    assert before.kl is not None
    assert after.kl < before.kl


def test_what_is_reported_has_trls_names_and_ours(groups, tmp_path):
    running = trainer(llama(), groups, tmp_path, per_device_train_batch_size=3)
    running.train()
    report = running.state.log_history[0]
    names = ["loss", "kl", "kd_loss", "nll", "or_loss", "log_odds_ratio", "log_odds_chosen"]
    names += [f"{kind}/{side}" for kind in ("logps", "rewards") for side in ("chosen", "rejected")]
    names += ["rewards/accuracies", "rewards/margins", "or/amplification", "kd/teacher_mass", "kd/hard_frac"]
    assert set(names) <= set(report)
    assert report["rewards/chosen"] == pytest.approx(BETA * report["logps/chosen"])
    assert report["kd/teacher_mass"] == pytest.approx(0.9, abs=1e-3)
    assert report["loss"] == pytest.approx(_weighted_loss(groups), abs=1e-5)


def _weighted_loss(groups):
    from dorpo.forward import token_scores
    from dorpo.loss import LossOptions, dorpo_loss

    batch = collate(groups)
    with torch.no_grad():
        return dorpo_loss(*token_scores(llama(), batch), batch, LossOptions(beta=BETA)).loss.item()


@pytest.mark.parametrize("options", [{}, {"low_memory": True}, {"prefix_sharing": "tree"}, {"kd_alpha": 0.5}])
def test_a_steps_kl_is_what_is_measured_before_and_after(groups, tmp_path, options):
    model = add_adapters(llama(), LoraSettings())
    options = {"max_steps": 2, "warmup_steps": 0, "groups_per_step": len(groups), **options}
    running = trainer(model, groups, tmp_path, **options)
    measured = [summarize(measure(model, groups)).kl]
    running.add_callback(_MeasureAfterSteps(model, groups, measured))
    running.train()
    logged = [entry["kl"] for entry in running.state.log_history if "kl" in entry]
    assert logged == pytest.approx(measured[:2], rel=1e-5)
    assert measured[0] != pytest.approx(measured[1], rel=1e-3)


class _MeasureAfterSteps(TrainerCallback):
    def __init__(self, model, groups, measured):
        self.model, self.groups, self.measured = model, groups, measured

    def on_step_end(self, *_, **__):
        self.measured.append(summarize(measure(self.model, self.groups)).kl)


def test_the_loss_is_its_first_term_and_the_odds_ratio(groups, tmp_path):
    running = trainer(llama(), groups[:1], tmp_path, kd_alpha=0.5)
    running.train()
    report = running.state.log_history[0]
    assert report["loss"] == pytest.approx(report["kd_loss"] + BETA * report["or_loss"], abs=1e-5)


def test_without_soft_labels_no_kl_is_reported(tmp_path):
    hard = encode_rows([row("a", "say one", "one!", "two", soft=False)], byte_tokens())
    running = trainer(llama(), hard, tmp_path)
    running.train()
    report = running.state.log_history[0]
    assert "kl" not in report
    assert report["kd_loss"] == pytest.approx(report["nll"])


def test_evaluation_during_training_reports_under_its_own_names(groups, tmp_path):
    running = trainer(llama(), groups, tmp_path)
    running.eval_dataset = groups
    report = running.evaluate()
    assert report["eval_loss"] > 0
    logged = running.state.log_history[-1]
    assert logged["eval_kl"] > 0
    assert "kl" not in logged


@pytest.mark.parametrize(
    "packing", [{}, {"groups_per_step": 2, "max_tokens_per_batch": 400, "prefix_sharing": "tree"}]
)
def test_a_training_resumes_where_it_stopped(groups, tmp_path, packing):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "data_seed": 3, **packing}
    whole = trainer(add_adapters(llama(), LoraSettings()), groups, tmp_path, **options)
    whole.train()
    resumed = trainer(add_adapters(llama(), LoraSettings()), groups, tmp_path, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    last, again = (
        [entry["loss"] for entry in run.state.log_history if "loss" in entry] for run in (whole, resumed)
    )
    assert again == pytest.approx(last)


def test_hard_labels_alone_are_orpo(tmp_path):
    rows = [row("a", "say one", "one!", "two", soft=False)]
    model = llama()
    groups = encode_rows(rows, byte_tokens())
    loss = trainer(model, groups, tmp_path).compute_loss(model, collate(groups))
    torch.testing.assert_close(loss.double(), plain_loss(llama(), rows), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": -1},
        {"kd_alpha": 1.5},
        {"or_logp_max": 0.0},
        {"groups_per_step": 0},
        {"max_tokens_per_batch": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, tmp_path):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DORPOConfig(output_dir=str(tmp_path), **wrong)


def test_the_trainer_is_silent(groups, tmp_path, capfd):
    from transformers import PrinterCallback

    running = trainer(llama(), groups, tmp_path)
    running.remove_callback(PrinterCallback)
    running.train()
    assert capfd.readouterr().out == ""
    assert running.state.log_history
