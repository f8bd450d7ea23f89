"""The labelled feedback that comes with the package: well formed, balanced, varied, nothing twice."""

import re
import unicodedata
from collections import Counter
from importlib import resources

from precision_shaking.sape.evaluation import FEEDBACK, read_feedbacks
from precision_shaking.sape.vocabulary import READINGS

SET = read_feedbacks(FEEDBACK)
TONES = {"curt", "polite", "sarcastic", "technical", "vague", "emoji"}
LANGUAGES = {"en", "de", "hu", "fr", "es", "pt", "it", "pl", "nl", "tr", "ja", "zh", "hi"}


def test_it_is_part_of_the_package():
    packaged = resources.files("precision_shaking.sape") / "data" / "feedback.jsonl"
    assert packaged.read_text("utf-8") == FEEDBACK.read_text("utf-8")


def test_there_are_many_and_each_verdict_has_as_many_as_the_others():
    counts = Counter(feedback.verdict for feedback in SET)
    assert len(SET) >= 120
    assert set(counts) == set(READINGS)
    assert len(set(counts.values())) == 1


def test_the_first_few_are_balanced_too():
    for count in (4, 20, 60):
        assert set(Counter(feedback.verdict for feedback in SET[:count]).values()) == {count // 4}


def test_tones_and_languages_are_spread_over_the_verdicts():
    for verdict in READINGS:
        of_verdict = [feedback for feedback in SET if feedback.verdict == verdict]
        assert {feedback.tone for feedback in of_verdict} == TONES
        assert {feedback.language for feedback in of_verdict} == LANGUAGES
        english = sum(feedback.language == "en" for feedback in of_verdict)
        assert english <= len(of_verdict) / 3


def test_nothing_is_said_twice():
    assert len({_folded(feedback.text) for feedback in SET}) == len(SET)


def test_texts_are_short_lines_in_normal_form():
    for feedback in SET:
        assert 1 <= len(feedback.text) <= 160
        assert feedback.text == unicodedata.normalize("NFC", feedback.text).strip()
        assert "\n" not in feedback.text


def test_no_text_gives_its_label_away():
    for feedback in SET:
        assert not re.search(r"further.edit|\baccepted\b|\bunclear\b|\bredo\b", feedback.text, re.IGNORECASE)


def _folded(text):
    return re.sub(r"[\W_]+", "", text.casefold()) or text
