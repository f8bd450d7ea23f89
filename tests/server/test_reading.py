"""How the embedded model's analyzer reads: likeness to phrases, and how it is weighed with likelihood."""

import re
import unicodedata
from importlib import resources

import pytest

from precision_shaking.sape.evaluation import FEEDBACK, read_feedbacks
from precision_shaking.sape.likeness import Labelled, Likeness
from precision_shaking.sape.reading import PHRASES, phrases, weigh
from precision_shaking.sape.vocabulary import READINGS

EVEN = dict.fromkeys(READINGS, 0.25)


def _scores(words, *examples):
    return Likeness.of([Labelled(*example) for example in examples], ("good", "bad")).scores(words)


@pytest.mark.parametrize("words", ["well done", "WELL  done\n", "well done!", "well dune", "done well"])
def test_words_are_like_those_that_are_written_alike(words):
    found = _scores(words, ("well done", "good"), ("start again", "bad"))
    assert found["good"] > 0.6 > 0.4 > found["bad"]


def test_it_needs_no_spaces_between_words():
    found = _scores("やり直してください", ("これで大丈夫", "good"), ("やり直し", "bad"))
    assert found["bad"] > found["good"]


def test_of_what_is_like_nothing_each_meaning_has_its_share():
    found = _scores("ß", ("abc", "good"), ("abd", "good"), ("xyz", "bad"), ("xyw", "good"))
    assert found == pytest.approx({"good": 0.75, "bad": 0.25})


def test_the_scores_sum_up_to_one():
    found = _scores("well, again", ("well done", "good"), ("start again", "bad"), ("again", "bad"))
    assert sum(found.values()) == pytest.approx(1)


def test_likeness_and_likelihood_both_count():
    alike = {**EVEN, "redo": 0.5}
    assert weigh(alike, dict.fromkeys(READINGS, -3.0)) == "redo"
    assert weigh(EVEN, {**dict.fromkeys(READINGS, -3.0), "accepted": -2.0}) == "accepted"
    assert weigh(alike, {**dict.fromkeys(READINGS, -3.0), "accepted": -1.0}) == "accepted"


def test_where_two_readings_are_about_as_good_the_user_is_asked():
    likely = dict.fromkeys(READINGS, -3.0)
    assert weigh({**EVEN, "redo": 0.5, "accepted": 0.499}, likely) == "unclear"
    assert weigh({**EVEN, "redo": 0.5, "accepted": 0.4}, likely) == "redo"


def test_what_would_close_the_step_takes_more():
    likely = dict.fromkeys(READINGS, -3.0)
    assert weigh({**EVEN, "accepted": 0.5, "redo": 0.4}, likely) == "unclear"
    assert weigh({**EVEN, "accepted": 0.7, "redo": 0.4}, likely) == "accepted"


def test_the_phrases_are_part_of_the_package():
    packaged = resources.files("precision_shaking.sape") / "data" / "phrases.toml"
    assert packaged.read_text("utf-8") == PHRASES.read_text("utf-8")


def test_every_phrase_has_a_meaning_that_can_be_read_and_stands_once():
    assert {phrase.meaning for phrase in phrases()} == set(READINGS)
    texts = [(phrase.words, phrase.meaning) for phrase in phrases()]
    assert len(set(texts)) == len(texts)


def test_no_feedback_that_measures_the_reading_is_among_the_phrases():
    known = {_folded(phrase.words) for phrase in phrases()}
    assert not [feedback.text for feedback in read_feedbacks(FEEDBACK) if _folded(feedback.text) in known]


def _folded(text):
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold()) or text
