"""Answers given as texts: read, run by the product's own command, counted."""

from __future__ import annotations

import sys

import pytest

from dorpo.evaluation.lengths import Generated, Lengths, count_lengths
from dorpo.evaluation.pass_rate import Ran, find_command, judge, run_with
from dorpo.rendering import render_response
from dorpo.training.request import TrainingRefusedError


def answer(script: str, *, ended: bool = True) -> Generated:
    return Generated(render_response("because", script), ended, 10)


def test_answers_are_run_by_the_command():
    answers = [answer("print('ä')\n"), answer("raise ValueError\n"), Generated("no script at all", False, 4)]
    rate = judge(answers, run_with(find_command()))
    assert rate.outcomes == {"ok": 1, "script_error": 1, "unreadable": 1}
    assert (rate.answers, rate.passed, rate.rate) == (3, 1, pytest.approx(1 / 3))
    assert len(rate.backends) == 1


def test_lengths_are_means_and_shares():
    answers = [answer("print(1)\n"), Generated("on and on", False, 4), answer("print(2)\n")]
    expected = Lengths(answers=3, ended=2, end_rate=pytest.approx(2 / 3), mean_tokens=8.0, chosen_tokens=20.0)
    assert count_lengths(answers, [10, 20, 30]) == expected


def test_what_the_sandbox_denies_counts_neither_way():
    outcomes = iter(["ok", "sandbox_denied", "script_error", "sandbox_unavailable"])
    rate = judge([answer("pass\n")] * 4, lambda _: Ran(next(outcomes), "none"))
    assert (rate.passed, rate.rate) == (1, 0.5)
    assert judge([answer("pass\n")], lambda _: Ran("sandbox_denied", "none")).rate is None


def test_the_script_is_run_exactly_as_written():
    scripts: list[str] = []

    def run(script: str) -> Ran:
        scripts.append(script)
        return Ran("ok", "none")

    judge([answer("x = 'a\x0cb'\n"), Generated(answer("y = 1\n").text.rpartition("[[")[0], True, 1)], run)
    assert scripts == ["x = 'a\x0cb'\n", "y = 1\n"]


def test_an_answer_that_was_cut_off_is_unreadable():
    cut = Generated(answer("y = 1\n").text.rpartition("[[")[0], False, 1)
    assert judge([cut], lambda _: Ran("ok", "none")).outcomes == {"unreadable": 1}


def test_a_command_that_does_something_else_is_refused():
    with pytest.raises(TrainingRefusedError, match="cannot run scripts"):
        run_with(sys.executable)("print(1)\n")


def test_a_missing_command_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(TrainingRefusedError, match="--execute needs the command precision-shaking"):
        find_command()
