"""What the user's words meant before is what they mean again, in this session and in the next."""

import pytest
from scripted_teacher import ScriptedTeacher, verdict, work

from dorpo.store import Said, Store
from precision_shaking.sape import events as e
from precision_shaking.sape.recall import recalled
from tests.server.play import ACCEPT, NEW, OLD, ONE_STEP, Play

FIRST = OLD + "# hello\n"


@pytest.mark.parametrize("words", ["ship it", "Ship it!", "  ship\tit. ", "SHIP IT"])
def test_the_same_words_mean_the_same(words):
    assert recalled(words, [Said("no", "redo"), Said("Ship it", "accepted")]) == "accepted"


@pytest.mark.parametrize("words", ["ship it later", "ship", "ship it?", "", "…"])
def test_other_words_are_not_known(words):
    assert recalled(words, [Said("ship it", "accepted")]) is None


def test_words_that_meant_different_things_are_not_known():
    assert recalled("hm", [Said("hm", "accepted"), Said("hm", "redo")]) is None
    assert recalled("hm", [Said("hm", "redo"), Said("Hm.", "redo")]) == "redo"


@pytest.mark.parametrize("words", ["Which version?", "どれ\uff1f"])
def test_a_question_is_never_known(words):
    assert recalled(words, [Said(words, "accepted")]) is None


def test_words_of_signs_alone_differ_by_them():
    assert recalled("!", [Said("...", "redo")]) is None
    assert recalled("...", [Said("...", "redo")]) == "redo"


async def test_what_a_button_said_beside_words_is_known_in_the_next_session(tmp_path):
    script = {**ONE_STEP, "worker": [work(FIRST), work(NEW), work(FIRST), work(NEW)]}
    with ScriptedTeacher(script) as teacher:
        await Play(tmp_path, {"verdict": "redo", "words": "Try another."}, ACCEPT).run(teacher)
        again = await Play(tmp_path, {"words": "try another"}, ACCEPT).run(teacher)
        assert teacher.asked("analyzer") == []
    # The user is told how it was read, and may correct it as any other reading.
    read = [(event.verdict, event.decided_by) for event in again.of(e.FeedbackRead)]
    assert read == [("redo", "analyzer"), ("accepted", "user")]
    assert again.end == "done"


async def test_what_the_analyzer_alone_made_of_words_is_not(tmp_path):
    script = {**ONE_STEP, "worker": [work(NEW)], "analyzer": [verdict("accepted"), verdict("accepted")]}
    with ScriptedTeacher(script) as teacher:
        await Play(tmp_path, {"words": "fine"}).run(teacher)
        await Play(tmp_path, {"words": "fine"}).run(teacher)
        assert len(teacher.asked("analyzer")) == 2


async def test_a_correction_is_known_too(tmp_path):
    script = {**ONE_STEP, "worker": [work(NEW), work(FIRST), work(NEW)], "analyzer": [verdict("accepted")]}
    with ScriptedTeacher(script) as teacher:
        first = await Play(tmp_path, {"words": "well, fine"}).run(teacher)
        with Store.open(tmp_path / "dataset.db") as store:
            store.relabel(first.of(e.FeedbackRead)[0].attempt, "redo")
            assert store.users_words(10) == [Said("well, fine", "redo")]
            assert store.users_words(0) == []
        again = await Play(tmp_path, {"words": "Well, fine."}, ACCEPT).run(teacher)
        assert len(teacher.asked("analyzer")) == 1
    assert [event.verdict for event in again.of(e.FeedbackRead)] == ["redo", "accepted"]
