"""Texts that come without log-probabilities are scored by another model, whenever there is time."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from attrs import astuple
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from dorpo.rendering import to_messages
from dorpo.softlabels import agrees, decode
from dorpo.store import Store
from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.channel import DirectChannel
from precision_shaking.sape.embedded import score
from precision_shaking.sape.labelling import Labeller
from precision_shaking.sape.process import EngineProcess
from precision_shaking.sape.resuming import recall
from precision_shaking.sape.scorers import parse_scorer
from precision_shaking.sape.session import Session
from precision_shaking.sape.teachers import connect, parse_teacher
from tests.dorpo.conftest import Story
from tests.server.audience import Audience
from tests.server.play import one_sentence

OLD = 'print("hi")\n'
SCORER = "embedded/smollm2"
ACCEPT = {"verdict": "accepted"}
AMEND = {"verdict": "accepted", "amended": 'print("ciao")\n'}
REDO = {"verdict": "redo", "words": "not like this"}


def silent(*scripts):
    """What a teacher answers that takes no question for log-probabilities."""
    answers = {"planner": [plan("say hello")], "lead": [instruct("Print hello.")]}
    return {
        agent: [{"content": text, "logprobs": "refuse"} for text in texts]
        for agent, texts in {**answers, "worker": map(work, scripts)}.items()
    }


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "dataset.db") as opened:
        yield opened


async def play(store, audience, server, scorer=SCORER):
    teacher = connect(parse_teacher(server.teacher()))
    params = wire.StartParams("greet.py", OLD, "say hello", (teacher.access,), scorer=scorer)
    audience.session = Session(params, [teacher], store, audience.hear)
    await asyncio.wait_for(audience.session.run(), 120)
    return audience


def labels_of(row):
    return row.chosen_labels_by, row.rejected_labels_by


@pytest.mark.embedded
async def test_what_a_teacher_and_the_user_wrote_is_scored_as_answers_to_the_rows_prompt(store):
    with ScriptedTeacher(silent('print("no")', 'print("hello")')) as server:
        told = await play(store, Audience(REDO, AMEND), server)
    rows = list(store.rows())
    assert [row.reason for row in rows] == ["redo", "amended"]
    assert [labels_of(row) for row in rows] == [(SCORER, SCORER)] * 2
    assert {row.teacher for row in rows} == {"user"}
    for row in rows:
        for text, packed in ((row.chosen, row.chosen_soft_labels), (row.rejected, row.rejected_soft_labels)):
            found, expected = decode(packed), score(SCORER, to_messages(row.prompt), text)
            assert agrees(found, text)
            # Stored with 16 bits; kernels round by what was in the context before.
            assert [one.logprob for one in found] == pytest.approx(
                [one.logprob for one in expected], abs=0.05
            )
    kinds = [type(event) for event in told.events]
    assert e.Scoring in kinds[kinds.index(e.SessionFinished) :]
    assert told.events[-1] == e.Scoring(told.session.uid, SCORER, waiting=0, rows=2, soft_labels=2)


class Reader(Audience):
    """A user who takes the time in which texts can be scored before every answer but the first."""

    def hear(self, event):
        if isinstance(event, e.Scoring) and event.waiting == 0 and self.asked is not None:
            super().hear(self.asked)
            self.asked = None
        if isinstance(event, e.ProposalReady) and self.of(e.ProposalReady):
            self.asked = event
        else:
            super().hear(event)

    asked = None


@pytest.mark.embedded
async def test_texts_are_scored_while_the_user_reads_a_proposal(store):
    with ScriptedTeacher(silent('print("no")', 'print("hello")')) as server:
        told = await play(store, Reader(REDO, ACCEPT), server)
    scored = [event for event in told.of(e.Scoring) if event.waiting == 0]
    finished = next(event for event in told.events if isinstance(event, e.SessionFinished))
    assert told.events.index(scored[0]) < told.events.index(finished)
    [row] = store.rows()
    assert labels_of(row) == (SCORER, SCORER)


@pytest.mark.embedded
async def test_a_stopped_session_scores_nothing_more(store):
    with ScriptedTeacher(silent('print("no")', 'print("hello")')) as server:
        told = await play(store, Audience(REDO, "stop"), server)
    assert told.ending()[0] == "abandoned"
    assert store.unlabelled() == []  # of an abandoned step


async def test_without_a_scorer_a_servers_texts_stay_without_soft_labels(store):
    with ScriptedTeacher(silent('print("hello")')) as server:
        told = await play(store, Audience(AMEND), server, scorer=None)
    assert told.ending()[3] == 0
    assert not told.of(e.Scoring)
    assert [labels_of(row) for row in store.rows()] == [(None, None)]


@pytest.mark.embedded
@pytest.mark.parametrize(
    ("own", "named", "labels_by"),
    [(None, None, SCORER), (SCORER, None, None), (SCORER, SCORER, SCORER)],
)
async def test_the_users_own_model_scores_what_they_made_of_its_text_only_where_it_is_named(
    store, own, named, labels_by
):
    told = Story(store)
    told.attempt(teacher=SCORER, soft=True)
    told.accepted(cause="amended", teacher="user")
    heard = []
    await Labeller(store, "session", DirectChannel(), heard.append, named, own).finish(SCORER)
    assert [row.chosen_labels_by for row in store.rows()] == [labels_by]
    assert not any(isinstance(event, e.ScoringFailed) for event in heard)


@pytest.mark.embedded
@pytest.mark.parametrize("content", [None, b"GGUF\x03\x00\x00\x00 and no model"])
async def test_a_scorer_that_is_missing_or_broken_is_told_once_and_costs_nothing_else(
    store, tmp_path, content, capfd
):
    model = tmp_path / "model.gguf"
    if content is not None:
        model.write_bytes(content)
    with ScriptedTeacher(silent('print("no")', 'print("hello")')) as server:
        told = await play(store, Audience(REDO, ACCEPT), server, parse_scorer(str(model)))
    [failed] = told.of(e.ScoringFailed)
    assert one_sentence(failed.message)
    assert str(model) in failed.message
    assert told.of(e.SessionFinished)[0].status == "done"
    assert [row.reason for row in store.rows()] == ["redo"]
    assert len(store.unlabelled()) == 2
    capfd.readouterr()


@pytest.mark.embedded
async def test_what_a_killed_engine_did_not_score_can_be_caught_up(tmp_path):
    db, events = tmp_path / "d.db", asyncio.Queue()
    with ScriptedTeacher(silent('print("no")', 'print("hello")')) as server:
        engine = await EngineProcess.start(events.put_nowait)
        try:
            async with asyncio.timeout(120):
                pool = (wire.TeacherAccess("openai/scripted", server.base_url),)
                await engine.begin(
                    wire.StartParams("a.py", OLD, "say hello", pool, db=str(db), scorer=SCORER)
                )
                answers = [REDO, ACCEPT]
                finished = False
                while not (finished and isinstance(event, e.Scoring)):  # noqa: F821 - of the round before
                    event = await events.get()
                    finished = finished or isinstance(event, e.SessionFinished)
                    if isinstance(event, e.ProposalReady):
                        await engine.answer(wire.AnswerParams(event.attempt, **answers.pop(0)))
        finally:
            engine.kill()
            await engine.wait()
    with Store.open(db) as store:
        assert recall(store, store.sessions()[0].uid).params.scorer == SCORER
        left = len(store.unlabelled())
        assert left
        done = run("score", "--db", db, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout)["scored"] == left
        assert [labels_of(row) for row in store.rows()] == [(SCORER, SCORER)]


def run(*words):
    command = [sys.executable, "-m", "precision_shaking", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
async def unlabelled(store):
    """A dataset of five texts without soft labels."""
    scripts = [f"print({n})\n" * 40 for n in range(5)]
    with ScriptedTeacher(silent(*scripts)) as server:
        await play(store, Audience(REDO, REDO, ACCEPT), server, scorer=None)
        await play(store, Audience(REDO, ACCEPT), server, scorer=None)
    assert len(store.unlabelled()) == 5
    return store


@pytest.mark.embedded
async def test_a_run_that_is_interrupted_keeps_what_it_did_and_the_next_goes_on(unlabelled):
    command = [sys.executable, "-m", "precision_shaking", "score", "--db", str(unlabelled.path)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*command, **pipes)
    async with asyncio.timeout(120):
        while len(unlabelled.unlabelled()) == 5:  # noqa: ASYNC110 - another process does it
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, complaint = (told.decode() for told in await process.communicate())
    left = len(unlabelled.unlabelled())
    assert 0 < left < 5
    assert (process.returncode, complaint) == (130, "")
    assert f"{5 - left} text" in said
    assert f"{left} text" in said.partition("s, ")[2]
    kept = [astuple(row) for row in unlabelled.rows()]
    done = run("score", "--db", unlabelled.path)
    assert (done.returncode, done.stderr) == (0, "")
    assert unlabelled.unlabelled() == []
    for before, row in zip(kept, unlabelled.rows(), strict=True):
        # What was there stays as it was, to the bit.
        assert [now for was, now in zip(before, astuple(row), strict=True) if was not in (None, now)] == []
        assert labels_of(row) == (SCORER, SCORER if row.rejected else None)
    again = json.loads(run("score", "--db", unlabelled.path, "--json").stdout)
    assert (again["scored"], again["passed_over"], again["left"]) == (0, 0, 0)


@pytest.mark.embedded
async def test_a_text_that_is_too_long_is_passed_over(store):
    with ScriptedTeacher(silent("".join(f"print({n})\n" for n in range(3000)))) as server:
        await play(store, Audience(ACCEPT), server, scorer=None)
    done = json.loads(run("score", "--db", store.path, "--json").stdout)
    assert (done["scored"], done["passed_over"], done["left"]) == (0, 1, 0)


@pytest.mark.embedded
def test_a_recording_replays_the_scores_too(tmp_path):
    script, path, answers = tmp_path / "greet.py", tmp_path / "recording.jsonl", tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps(answer) + "\n" for answer in ({"verdict": "redo", "text": "no"}, AMEND))
    )

    def play_it(db, *options):
        script.write_text(OLD)
        words = ("run", script, "say hello", "--json", "--answers", answers, "--db", tmp_path / db, *options)
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        with Store.open(tmp_path / db) as store:
            rows = [astuple(row)[2:] for row in store.rows()]
        return rows, json.loads(done.stdout.splitlines()[-1])

    with ScriptedTeacher(silent('print("no")', 'print("hello")')) as server:
        rows, last = play_it("d.db", "--teacher", server.teacher(), "--scorer", SCORER, "--record", path)
    assert (last["kind"], last["waiting"], last["soft_labels"]) == ("scoring", 0, 2)
    again, _ = play_it("again.db", "--replay", path)
    assert again == rows
    assert rows[0][-2:] == (SCORER, SCORER)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scorer", "openai/gpt-4o"], "--scorer must be an embedded model or a GGUF file"),
        (["--scorer", "/nowhere/model.gguf"], "There is no file /nowhere/model.gguf"),
        (["--db", "/nowhere/d.db"], "There is no dataset at /nowhere/d.db"),
    ],
)
async def test_what_cannot_be_scored_is_said_in_a_sentence(store, words, said):
    with ScriptedTeacher(silent('print("hello")')) as server:
        await play(store, Audience(ACCEPT), server, scorer=None)
    database = [] if "--db" in words else ["--db", store.path]
    done = run("score", *database, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"precision-shaking: {said}")
    assert done.stderr.count("\n") == 1


def test_a_scorer_is_an_embedded_model_or_a_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert parse_scorer(" embedded/smollm2 ") == SCORER
    assert parse_scorer("m.gguf") == parse_scorer("embedded/m.gguf") == f"embedded/{tmp_path}/m.gguf"
    assert parse_scorer("~/m.gguf") == f"embedded/{Path.home()}/m.gguf"
    for wrong in ("openai/gpt-4o", "smollm2", "embedded/", ""):
        with pytest.raises(ValueError, match="an embedded model or a GGUF file"):
            parse_scorer(wrong)
