"""The estimate of a training's memory, and low memory where it would not fit otherwise."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_models import group, make

from dorpo.kept import bytes_kept, kept_behind_prefixes, kept_by_texts
from dorpo.low_memory import choose
from dorpo.memory import Memory
from dorpo.pieces import leaves, read
from dorpo.trainer import DORPOConfig, DORPOTrainer
from dorpo.training.advice import advice
from dorpo.training.request import TrainingRequest

pytestmark = pytest.mark.train

GB = 10**9
NEEDS = {False: Memory(GB, GB // 10, 5 * GB), True: Memory(GB, GB // 10, GB)}
# With eager attention a text of this length needs more than any machine has, and its pieces do not.
LONG = 300_000


def trainer(tmp_path, groups, attention="sdpa", **options) -> DORPOTrainer:
    names = ("attention_dropout", "max_position_embeddings")
    of_model = {name: options.pop(name) for name in names if name in options}
    config = DORPOConfig(output_dir=str(tmp_path), use_cpu=True, **options)
    return DORPOTrainer(make("llama", attention, **of_model), config, groups)


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("wanted", "free", "low"),
    [
        (None, None, False),
        (None, 6 * GB, False),
        (None, 5 * GB, True),
        (None, GB // 2, True),
        (False, GB, False),
        (True, 9 * GB, True),
    ],
)
def test_low_memory_is_chosen_where_it_would_not_fit_otherwise(wanted, free, low):
    assert choose(wanted, NEEDS.__getitem__, free, nothing).low_memory is low


def told(wanted: bool | None, free: int, against: str | None = None, device: str = "cpu", **asked) -> str:
    fit = choose(wanted, NEEDS.__getitem__, free, lambda: against)
    names = {"db": Path(), "student": "", "output": Path(), "low_memory": wanted}
    return advice(fit, TrainingRequest(**names, **asked), device)


def test_the_choice_is_told_with_its_numbers():
    assert told(None, 6 * GB) == told(True, 6 * GB) == ""
    # The student is there already, and both numbers are with it.
    assert told(None, 2 * GB) == (
        "It needs about 6.1 GB, and 3.0 GB are free: trains with low memory, which needs about 2.1 GB and "
        "takes up to a third longer."
    )


def test_what_would_help_is_told_where_nothing_fits():
    assert told(None, GB) == (
        "It needs about 2.1 GB even with low memory, but only 2.0 GB are free: "
        "a smaller --max-length or a smaller --student helps."
    )
    assert told(None, GB, "the model has dropout") == (
        "It needs about 6.1 GB, but only 2.0 GB are free, and low memory is not possible, because the model "
        "has dropout: a smaller --max-length, a smaller --student or --gradient-checkpointing helps."
    )
    assert ": leaving --no-low-memory out, a smaller" in told(False, GB)
    assert "or --qlora helps." in told(None, GB, device="cuda")
    assert "or adapters instead of --full helps." in told(None, GB, device="cuda", full=True)


def test_a_trainer_chooses_by_itself(tmp_path):
    short, long = group(30, 20, 10, seed=1), group(LONG, 20, 10, seed=2)
    whole = {"max_position_embeddings": 2 * LONG, "attention": "eager"}
    assert not trainer(tmp_path, [short], **whole).fit.low_memory
    chosen = trainer(tmp_path, [short, long], prefix_sharing="auto", **whole).fit
    assert chosen.low_memory
    assert chosen.usual.total > 100 * chosen.memory.total
    forbidden = trainer(tmp_path, [long], low_memory=False, **whole).fit
    assert (forbidden.low_memory, forbidden.fits) == (False, False)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"attention_dropout": 0.1}, "dropout"),
        ({"activation_checkpointing": True}, "gradient checkpointing drops the keys and values"),
        ({"prefix_sharing": "off"}, 'prefix_sharing is "off"'),
    ],
)
def test_where_low_memory_is_not_possible_it_says_why(tmp_path, options, why):
    long = [group(LONG, 20, 10, seed=2)]
    fit = trainer(tmp_path, long, "eager", max_position_embeddings=2 * LONG, **options).fit
    assert (fit.low_memory, fit.fits) == (False, False)
    assert why in fit.obstacle


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_long_texts_keep_what_short_ones_foretell(attention):
    model = make("llama", attention)
    kept = kept_behind_prefixes(model)
    ids = torch.zeros(500, dtype=torch.long)
    prefix = leaves(read(model, None, ids[:300], keep=False).end)
    found = bytes_kept(model, partial(read, model, prefix, ids[:200], keep=True))
    assert kept.of(200, 300) == pytest.approx(found, rel=0.05)
    # A mask of four bytes in each of three layers is there in any case, probabilities of four heads are not.
    assert (kept.pair > 2 * 3 * 4) is (attention == "eager")


def test_memory_is_estimated_from_what_a_token_keeps(tmp_path):
    groups = [group(200, 100, 100, seed=1)]
    usual, low, again = (
        trainer(tmp_path, groups, **options).fit.memory
        for options in ({}, {"low_memory": True}, {"activation_checkpointing": True})
    )
    model = make("llama")
    size = sum(parameter.numel() * 4 for parameter in model.parameters())
    assert usual.weights == pytest.approx(size, rel=0.02)
    assert usual.optimizer == pytest.approx(3 * size, rel=0.02)
    assert low.activations < usual.activations
    plain, checkpointed = kept_by_texts(model), kept_by_texts(model, checkpointing=True)
    assert checkpointed.own < plain.own / 2
    assert checkpointed.layer == plain.layer
    assert not model.is_activation_checkpointing
    assert again.total < usual.total
