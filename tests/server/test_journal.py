"""A session's journal: replaying it gives the state that the session had, whatever happened in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from precision_shaking.sape import happenings as h
from precision_shaking.sape import workflow
from precision_shaking.sape.journal import JournalError, Standing, from_json, replay, to_json
from precision_shaking.sape.state import begin
from precision_shaking.sape.vocabulary import Attempt, DecidedBy, Help, Limits, Outcome, Phase, Verdict

# What a model may write: half a surrogate pair, line separators, quotes, nothing.
TEXTS = st.text(max_size=8) | st.sampled_from(["", "\ud800", "a\u2028b", "\r\n", '"\\', "\0"])
MAYBE = st.none() | TEXTS
ANSWERED = st.builds(h.Answered, st.sampled_from(Verdict), TEXTS, MAYBE, MAYBE, st.sampled_from(DecidedBy))
FITTING = {
    Phase.PLANNING: st.builds(h.Planned, st.lists(TEXTS, max_size=3).map(tuple)),
    Phase.INSTRUCTING: st.builds(h.Instructed, TEXTS),
    Phase.WORKING: st.one_of(
        st.builds(h.Produced, st.builds(Attempt, st.uuids().map(str), TEXTS, TEXTS, TEXTS)),
        st.builds(h.Unreadable, TEXTS, st.booleans()),
    ),
    Phase.EXECUTING: st.builds(h.Executed, st.sampled_from(Outcome), TEXTS),
    Phase.ASKING: ANSWERED | st.builds(h.Commented, TEXTS, MAYBE, MAYBE),
    Phase.READING: ANSWERED | st.builds(h.Unclear),
    Phase.STUCK: st.builds(h.Helped, st.sampled_from(Help), MAYBE),
}
BEGINNING = begin("request", "old\n", Limits(teachers=2, max_attempts=2, max_steps=3))


@given(st.one_of(*FITTING.values(), st.builds(h.Stopped)))
def test_every_event_survives_being_written_down(event):
    assert from_json(to_json(event)) == event
    assert to_json(event).isascii()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_replayed_journal_gives_the_live_state_at_every_moment(data):
    state, journal = BEGINNING, []
    for _ in range(data.draw(st.integers(0, 25))):
        if state.phase is Phase.FINISHED:
            break
        event = data.draw(FITTING[state.phase])
        state = workflow.advance(state, event).state
        journal.append(to_json(event))
        assert replay(BEGINNING, map(from_json, journal)).state == state


def told(*events):
    return replay(BEGINNING, events)


ATTEMPT = Attempt("a", "response", "why", "new\n")
STEP = (h.Instructed("do"), h.Produced(ATTEMPT), h.Executed(Outcome.OK))
ACCEPT = h.Answered(Verdict.ACCEPTED)


def test_what_lies_behind_is_remembered_as_the_document_had_it():
    edited = h.Answered(Verdict.ACCEPTED, document="new and edited\n")
    skipped = (*[h.Instructed("x"), *[h.Unreadable("", hopeless=True)] * 2], h.Helped(Help.SKIP))
    standing = told(h.Planned(("one", "two", "three")), *STEP, edited, *skipped, h.Instructed("last"))
    assert standing.kept == ("new and edited\n", None)
    assert standing.state.step == 2


def test_an_empty_journal_is_the_beginning():
    assert told() == Standing(BEGINNING)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "[]",
        "{}",
        json.dumps({"kind": "Danced"}),
        json.dumps({"kind": "Planned"}),
        json.dumps({"kind": "Answered", "verdict": "perhaps"}),
        json.dumps({"kind": "Produced", "attempt": "a"}),
    ],
)
def test_what_is_no_entry_is_said_in_a_sentence(entry):
    with pytest.raises(JournalError, match="cannot resume the session"):
        from_json(entry)


def test_a_journal_that_makes_no_sense_is_said_in_a_sentence():
    with pytest.raises(JournalError, match="makes no sense"):
        told(h.Planned(("one",)), ACCEPT)
