import pytest

from dorpo.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (40, "40 s"),
        (59.6, "1 min"),
        (170, "3 min"),
        (3599, "1 h"),
        (7200, "2 h"),
        (45_777, "12 h 43 min"),
        (762 * 60 + 10, "12 h 42 min"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds, words):
    assert in_words(seconds) == words
