"""Pictures of evaluations and sweeps: the data that is drawn, and a file that is an image."""

from __future__ import annotations

import pytest
from attrs import evolve
from PIL import Image

from dorpo.evaluation.candidates import Candidate
from dorpo.evaluation.figures import Counts, Pair, summarize
from dorpo.evaluation.lengths import Lengths
from dorpo.evaluation.plots import evaluation_figure, save, sweep_figure
from dorpo.evaluation.sweep import Sweep, SweepRun

pytestmark = pytest.mark.train

PLAIN = Counts(
    pairs=[Pair("error", 1.0), Pair("redo", 0.0)],
    chosen_tokens=10,
    chosen_logp=-10.0,
    scored=8,
    kl=4.0,
    translated=5,
    agreed=3,
    ending=0.5,
    cycle=1,
)
BETTER = evolve(PLAIN, pairs=[Pair("error", 1.0), Pair("redo", 1.0)], kl=2.0, chosen_logp=-5.0)


def candidate(name, *counts, **answers) -> Candidate:
    return Candidate(name=name, counts=counts, figures=summarize(counts), **answers)


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def heights(axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches]


def dots(axes) -> list[tuple[float, float, float]]:
    """Of every dot with an interval: its value, and where the interval begins and ends."""
    found = []
    for container in axes.containers:
        line, _, (bar,) = container.lines
        (segment,) = bar.get_segments()
        found.append((line.get_ydata()[0], *segment[:, 1]))
    return found


def test_an_evaluation_shows_the_figures_of_every_student():
    one, other = candidate("base", PLAIN, BETTER), candidate("adapter", BETTER, BETTER)
    shown = panels(evaluation_figure([one, other]))
    assert list(shown) == [
        "pair accuracy, 95 % interval",
        "pair accuracy by reason",
        "KL to the teacher, nats/token",
        "perplexity of chosen responses",
    ]
    whole = shown["pair accuracy, 95 % interval"]
    assert dots(whole) == [pytest.approx((0.75, *one.figures.pair_interval)), pytest.approx((1.0, 1.0, 1.0))]
    assert [label.get_text() for label in whole.get_xticklabels()] == ["base", "adapter"]
    reasons = shown["pair accuracy by reason"]
    assert [value for value, *_ in dots(reasons)] == [1.0, 0.5, 1.0, 1.0]
    assert [label.get_text() for label in reasons.get_xticklabels()] == ["error\n2 pairs", "redo\n2 pairs"]
    assert heights(shown["KL to the teacher, nats/token"]) == [6 / 16, 4 / 16]
    perplexities = [one.figures.chosen_perplexity, other.figures.chosen_perplexity]
    assert heights(shown["perplexity of chosen responses"]) == perplexities


def test_what_nothing_defines_has_no_panel():
    bare = evolve(PLAIN, pairs=[], scored=0, kl=0.0, translated=0, agreed=0)
    assert list(panels(evaluation_figure([candidate("base", bare)]))) == ["perplexity of chosen responses"]


def test_own_answers_have_a_panel_of_their_lengths():
    lengths = Lengths(answers=2, ended=1, end_rate=0.5, mean_tokens=42.0, chosen_tokens=40.0)
    shown = panels(evaluation_figure([candidate("base", PLAIN, lengths=lengths)]))
    assert heights(shown["tokens of an own answer"]) == [42.0]


def sweep(*runs) -> Sweep:
    return Sweep(
        status="running",
        student="tiny",
        dataset="rows.db",
        dataset_sha256="0" * 64,
        on="held-out rows",
        planned=9,
        base=summarize([PLAIN]),
        runs=[SweepRun(beta=b, seed=s, adapter="a", figures=summarize([c])) for b, s, c in runs],
    )


def test_a_sweep_shows_every_seed_and_their_means():
    shown = panels(sweep_figure(sweep((0.2, 1, BETTER), (0.0, 1, PLAIN), (0.2, 2, PLAIN))))
    seeds, means, base = shown["KL to the teacher, nats/token"].lines
    assert sorted(zip(seeds.get_xdata(), seeds.get_ydata(), strict=True)) == [(0, 0.5), (1, 0.25), (1, 0.5)]
    assert list(means.get_ydata()) == [0.5, 0.375]
    assert list(base.get_ydata()) == [0.5, 0.5]
    labels = [label.get_text() for label in shown["pair accuracy"].get_xticklabels()]
    assert labels == ["0", "0.2"]


def test_a_picture_is_an_image_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("the last one")
    save(sweep_figure(sweep((0.0, 1, PLAIN))), path)
    with Image.open(path) as image:
        image.verify()
        assert (image.format, image.width > image.height) == ("PNG", True)
    assert list(tmp_path.iterdir()) == [path]
