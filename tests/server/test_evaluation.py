"""Measuring the analyzer: the figures are counted right, whoever answers, and the command says them."""

import json
from collections import Counter

import pytest
from scripted_teacher import ScriptedTeacher, verdict

from precision_shaking.cli import main
from precision_shaking.sape.agents import Agents, ask
from precision_shaking.sape.evaluation import (
    FEEDBACK,
    HALVES,
    UNREADABLE,
    EvaluationError,
    Feedback,
    evaluate,
    half,
    read_feedbacks,
)
from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.teachers import connect, parse_teacher
from precision_shaking.sape.vocabulary import READINGS

LINE = {"text": "fine", "language": "en", "tone": "curt", "verdict": "accepted", "step": "go on"}


def _feedback(meant):
    return Feedback(**{**LINE, "verdict": meant})


def test_right_wrong_and_unreadable_answers_are_counted():
    meant = ["accepted", "accepted", "redo", "redo", "further_edit", "unclear"]
    read = ["accepted", "redo", "redo", None, "accepted", "unclear"]
    found = evaluate("a/b", [_feedback(word) for word in meant], read, 1.5)
    assert (found.items, found.unreadable, found.accuracy) == (6, 1, 0.5)
    assert found.accuracy_by_verdict == {"accepted": 0.5, "redo": 0.5, "further_edit": 0.0, "unclear": 1.0}
    assert found.confusion["accepted"] == {
        "accepted": 1,
        "redo": 1,
        "further_edit": 0,
        "unclear": 0,
        "unreadable": 0,
    }
    assert found.confusion["redo"][UNREADABLE] == 1


def test_what_the_user_is_asked_about_is_no_answer():
    meant = ["accepted", "accepted", "redo", "redo", "unclear", "further_edit"]
    read = ["accepted", "unclear", "accepted", None, "accepted", "further_edit"]
    found = evaluate("a/b", [_feedback(word) for word in meant], read, 1.5)
    assert found.coverage == 4 / 6
    assert found.accuracy_of_answers == 2 / 4
    assert found.wrongly_accepted == 2


def test_nothing_answered_has_no_accuracy():
    found = evaluate("a/b", [_feedback("redo")], ["unclear"], 0.0)
    assert (found.coverage, found.accuracy_of_answers, found.wrongly_accepted) == (0.0, None, 0)


def test_the_halves_are_the_whole_and_alike():
    every = read_feedbacks(FEEDBACK)
    halves = [half(every, name) for name in HALVES]
    in_all = Counter(feedback.language for feedback in every)
    assert sorted([*halves[0], *halves[1]], key=every.index) == every
    for of_it in halves:
        verdicts = Counter(feedback.verdict for feedback in of_it)
        assert set(verdicts.values()) == {len(every) // 8}
        languages = Counter(feedback.language for feedback in of_it)
        assert all(languages[name] for name, count in in_all.items() if count >= 2 * len(READINGS))
    assert half(every, "test") == halves[1]


def test_of_nothing_there_is_no_share():
    found = evaluate("a/b", [_feedback("redo")], ["redo"], 0.0)
    assert found.accuracy_by_verdict == {"accepted": None, "redo": 1.0, "further_edit": None, "unclear": None}
    assert evaluate("a/b", [], [], 0.0).accuracy is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("{", "Line 1"),
        ("[]", "needs the fields"),
        (json.dumps({**LINE, "more": "x"}), "needs the fields"),
        (json.dumps({**LINE, "text": " "}), "something in it"),
        (json.dumps({**LINE, "step": 1}), "something in it"),
        (json.dumps(LINE) + "\n" + json.dumps({**LINE, "verdict": "maybe"}), "Line 2 .* none of"),
    ],
)
def test_a_set_that_cannot_be_used_is_said_in_a_sentence(tmp_path, text, why):
    path = tmp_path / "set.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(EvaluationError, match=why):
        read_feedbacks(path)


def test_a_set_that_is_not_there_is_said_too(tmp_path):
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_feedbacks(tmp_path / "none.jsonl")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the command in this process; its status and both streams."""
    monkeypatch.setenv("PRECISION_SHAKING_HOME", str(tmp_path))
    # What makes a process quiet would stay for the tests after this one.
    monkeypatch.setattr("precision_shaking.sape.evaluation_cli.quieten", lambda _: None)

    def command(*words):
        status = main(["evaluate-analyzer", *words])
        output = capsys.readouterr()
        return status, output.out, output.err

    return command


def _set(tmp_path, *verdicts):
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps({**LINE, "verdict": word}) + "\n" for word in verdicts), "utf-8")
    return str(path)


def test_each_teacher_is_measured_on_its_own(run, tmp_path):
    data = _set(tmp_path, *READINGS)
    # Right, wrong, not one of the four, and not in the asked form.
    mixed = [verdict("Accepted."), verdict("accepted"), verdict("maybe"), "I think it is unclear"]
    with (
        ScriptedTeacher({"analyzer": [verdict(word) for word in READINGS]}) as right,
        ScriptedTeacher({"analyzer": mixed}) as other,
    ):
        teachers = ["--teacher", right.teacher("openai/right"), "--teacher", other.teacher("openai/other")]
        status, out, _ = run(*teachers, "--data", data, "--json")
        asked = [body["messages"][-1]["content"] for body in right.asked("analyzer")]
    first, second = json.loads(out)["teachers"]
    assert status == 0
    assert (first["teacher"], first["items"], first["accuracy"], first["unreadable"]) == (
        "openai/right",
        4,
        1.0,
        0,
    )
    assert (second["accuracy"], second["unreadable"]) == (0.25, 2)
    assert second["confusion"]["redo"]["accepted"] == 1
    assert second["seconds"] > 0
    assert all("fine" in question and "go on" in question for question in asked)


def test_the_table_says_it_to_people(run, tmp_path):
    with ScriptedTeacher({"analyzer": [verdict("redo")]}) as teacher:
        status, out, err = run("--teacher", teacher.teacher(), "--data", _set(tmp_path, "redo", "accepted"))
    assert (status, err) == (0, "")
    assert "accuracy 50.0% of 2, 0 unreadable" in out
    assert "taken for a verdict 100.0%, of these right 50.0%, wrongly accepted 0" in out
    assert "openai/scripted" in out


def test_one_half_is_read_alone(run, tmp_path):
    with ScriptedTeacher({"analyzer": [verdict("redo")]}) as teacher:
        data = _set(tmp_path, "redo", "accepted", "redo", "accepted")
        _, out, _ = run("--teacher", teacher.teacher(), "--data", data, "--half", "test", "--json")
        assert len(teacher.asked("analyzer")) == 2
    (found,) = json.loads(out)["teachers"]
    assert (found["items"], found["coverage"], found["accuracy_of_answers"]) == (2, 1.0, 0.5)


def test_a_limit_takes_the_first(run, tmp_path):
    with ScriptedTeacher({"analyzer": [verdict("redo")]}) as teacher:
        data = _set(tmp_path, "redo", "accepted", "redo")
        _, out, _ = run("--teacher", teacher.teacher(), "--data", data, "--limit", "1", "--json")
        assert len(teacher.asked("analyzer")) == 1
    assert json.loads(out)["teachers"][0]["accuracy"] == 1.0


@pytest.mark.parametrize("words", [["--teacher", "nobody"], ["--data", "none.jsonl"]])
def test_what_cannot_be_used_is_a_sentence_and_no_table(run, words):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("precision-shaking: ")
    assert err.count("\n") == 1


def test_a_teacher_that_refuses_is_a_sentence(run, tmp_path):
    with ScriptedTeacher({"analyzer": [{"status": 401, "content": "no"}]}) as teacher:
        status, _, err = run("--teacher", teacher.teacher(), "--data", _set(tmp_path, "redo"))
    assert status == 2
    assert "refuses the API key" in err


@pytest.mark.embedded
def test_the_embedded_model_reads_a_few_of_the_packages_own(run):
    status, out, _ = run("--limit", "4", "--json")
    assert status == 0
    (found,) = json.loads(out)["teachers"]
    assert (found["teacher"], found["items"]) == ("embedded/smollm2", 4)
    # It is held to the four words; which of them it chooses is its own affair.
    assert found["unreadable"] == 0


PLAIN = [
    ("I like it, keep it.", "accepted"),
    ("Wrong, throw it away and start over.", "redo"),
    ("Good, but also add a title.", "further_edit"),
    ("Which version is this? I have a question.", "unclear"),
]


@pytest.mark.embedded
@pytest.mark.parametrize(("words", "meant"), PLAIN)
async def test_the_embedded_model_reads_plain_words_right(words, meant):
    analyzer, teacher = Agents.for_scripts().analyzer, connect(parse_teacher("embedded/smollm2"))
    exchange = Exchange([])
    inputs = {"step": "add a chart", "feedback": words}
    reply = await ask(analyzer, teacher, inputs, repeat=0, exchange=exchange, on_text=lambda _: None)
    assert reply.fields == {"verdict": meant}
    # What is kept of the call has the form that every other teacher's has.
    assert words in exchange.messages[-1]["content"]
    assert exchange.text == verdict(meant)


@pytest.mark.embedded
async def test_the_embedded_model_reads_a_whole_page_too():
    analyzer, teacher = Agents.for_scripts().analyzer, connect(parse_teacher("embedded/smollm2"))
    inputs = {"step": "add a chart", "feedback": "I like it. " * 5000}
    reply = await ask(analyzer, teacher, inputs, repeat=0, exchange=Exchange([]), on_text=lambda _: None)
    assert reply.fields is not None
