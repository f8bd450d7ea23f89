import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from scripted_teacher import ScriptedTeacher, instruct, plan, verdict, work

from tests.server.lsp_editor import editor, rows

BASE = "print('hello')\n"
FIRST = "print('hello')\nprint('bye')\n"
SECOND = "print('hello')\nprint('BYE')\n"
START = types.Range(types.Position(0, 0), types.Position(0, 0))


def _teacher(*scripts, steps=("say goodbye",), **queues):
    works = [work(script) for script in scripts]
    return ScriptedTeacher(
        {"planner": [plan(*steps)], "lead": [instruct("Add a line.")], "worker": works, **queues}
    )


async def test_a_further_edit_then_an_accept_change_the_document_and_fill_the_dataset(home, uri):
    with _teacher(FIRST, SECOND) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            first = await ed.next_proposal()
            assert (first["session"], first["uri"], first["step"], first["steps"]) == (session, uri, 0, 1)
            assert (first["base"], first["proposed"], first["outcome"]) == (BASE, FIRST, "ok")

            answer = {
                "session": session,
                "attempt": first["attempt"],
                "verdict": "further_edit",
                "words": "louder",
            }
            assert await ed.ask("answer", answer) == {"applied": False, "message": ""}
            second = await ed.next_proposal()
            assert (second["base"], second["proposed"], second["cycle"]) == (BASE, SECOND, 2)
            assert ed.documents[uri].text == BASE

            answer = {"session": session, "attempt": second["attempt"], "verdict": "accepted"}
            assert await ed.ask("answer", answer) == {"applied": True, "message": ""}
            assert ed.documents[uri].text == SECOND
            assert (await ed.next_event("step_accepted"))["script"] == SECOND
            await ed.next_event_of_the_end()
    (row,) = rows(home)
    assert row["reason"] == "further_edit"
    assert "print('BYE')" in row["chosen"]
    assert "print('bye')" in row["rejected"]


async def test_the_edit_is_one_versioned_change_of_the_changed_lines(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            await ed.accept_next(await ed.start(uri))
            (edit,) = ed.edits
            (change,) = edit.edit.document_changes
            assert change.text_document.version == 1
            assert [(e.range.start.line, e.new_text) for e in change.edits] == [(1, "print('bye')\n")]
            assert edit.label == "Precision Shaking: say goodbye"


@pytest.mark.embedded
async def test_a_text_without_log_probabilities_is_scored_after_the_session(home, uri):
    with _teacher(worker=[{"content": work(FIRST), "logprobs": "refuse"}]) as teacher:
        async with editor(home, teachers=[teacher.teacher()], scorer="embedded/smollm2") as ed:
            ed.open(uri, BASE)
            await ed.accept_next(await ed.start(uri))
            assert (await ed.next_event_of_the_end())["soft_labels"] == 0
            while (told := await ed.next_event("scoring"))["waiting"]:
                pass
            assert (told["rows"], told["soft_labels"]) == (1, 1)
            (row,) = rows(home)
    assert (row["teacher"], row["soft_labels_by"]) == ("openai/scripted", "embedded/smollm2")


@pytest.mark.embedded
async def test_a_scorer_that_is_not_there_is_a_message_and_nothing_else(home, uri):
    with _teacher(worker=[{"content": work(FIRST), "logprobs": "refuse"}]) as teacher:
        async with editor(home, teachers=[teacher.teacher()], scorer="/nowhere/model.gguf") as ed:
            ed.open(uri, BASE)
            await ed.accept_next(await ed.start(uri))
            await ed.next_event_of_the_end()
            assert "There is no file /nowhere/model.gguf" in await ed.next_message()
    assert len(rows(home)) == 1


async def test_an_editor_that_only_says_it_applied_the_edit_is_asked_again(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, behaviour="lying", teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            answer = {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
            result = await ed.ask("answer", answer)
            assert not result["applied"]
            assert "did not apply" in result["message"]
            assert await ed.next_proposal() == proposal
            assert rows(home) == []

            ed.behaviour = "honest"
            assert (await ed.ask("answer", answer))["applied"]
            assert ed.documents[uri].text == FIRST
            await ed.next_event_of_the_end()
    assert len(rows(home)) == 1


async def test_an_editor_that_refuses_the_edit_is_told_so(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, behaviour="refusing", teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            result = await ed.accept_next(await ed.start(uri))
            assert result["applied"] is False
            assert "refused the edit: document has changed" in result["message"]


async def test_an_acceptance_that_the_engine_did_not_get_keeps_no_later_one_from_the_document(home, uri):
    with _teacher(FIRST, SECOND, analyzer=[verdict("accepted")]) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            answer = {"session": session, "attempt": proposal["attempt"]}
            with pytest.raises(JsonRpcException, match="half of a character"):
                await ed.ask("answer", {**answer, "verdict": "accepted", "words": "\ud83d"})
            assert ed.documents[uri].text == FIRST
            await ed.ask("answer", {**answer, "verdict": "redo"})
            again = await ed.next_proposal()
            await ed.ask("answer", {"session": session, "attempt": again["attempt"], "words": "fine"})
            await ed.next_event_of_the_end()
            assert ed.documents[uri].text == SECOND


async def test_what_was_typed_meanwhile_is_kept(home, uri):
    base = "print('hello')\n\n\nx = 1\n"
    with _teacher("print('hello')\n\n\nx = 1\nprint('bye')\n") as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, base)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            ed.type(uri, [(START, "# mine\n")])
            answer = {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
            assert (await ed.ask("answer", answer))["applied"]
            assert ed.documents[uri].text == "# mine\nprint('hello')\n\n\nx = 1\nprint('bye')\n"
            finished = await ed.next_event_of_the_end()
            assert finished["script"] == ed.documents[uri].text
    assert "# mine" not in rows(home)[0]["chosen"]


async def test_a_conflict_is_shown_against_the_document_as_it_is(home, uri):
    with _teacher("print('goodbye')\n") as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            ed.type(uri, [(None, "print('hi')\n")])
            answer = {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
            result = await ed.ask("answer", answer)
            assert result["applied"] is False
            assert "same lines" in result["message"]
            assert ed.edits == []
            again = await ed.next_proposal()
            assert (again["attempt"], again["base"]) == (proposal["attempt"], "print('hi')\n")
            assert again["proposed"] == "print('goodbye')\n"
            assert (await ed.ask("answer", answer))["applied"]
            assert ed.documents[uri].text == "print('goodbye')\n"


async def test_a_changed_proposal_is_what_gets_applied(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            mine = proposal["proposed"].replace("bye", "so long")
            answer = {
                "session": session,
                "attempt": proposal["attempt"],
                "verdict": "accepted",
                "proposed": mine,
            }
            assert (await ed.ask("answer", answer))["applied"]
            assert ed.documents[uri].text == mine
            await ed.next_event_of_the_end()
    (row,) = rows(home)
    assert row["reason"] == "amended"
    assert "so long" in row["chosen"]


async def test_words_alone_are_read_and_an_acceptance_reaches_the_document(home, uri):
    with _teacher(FIRST, analyzer=[verdict("accepted")]) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            answer = {"session": session, "attempt": proposal["attempt"], "words": "exactly what I wanted"}
            assert (await ed.ask("answer", answer)) == {"applied": False, "message": ""}
            await ed.next_event_of_the_end()
            assert ed.documents[uri].text == FIRST


async def test_windows_line_ends_stay(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE.replace("\n", "\r\n"))
            result = await ed.accept_next(await ed.start(uri))
            assert result["applied"]
            assert ed.documents[uri].text == FIRST.replace("\n", "\r\n")


async def test_an_untitled_document_works_too(home):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open("untitled:Untitled-1", BASE)
            assert (await ed.accept_next(await ed.start("untitled:Untitled-1")))["applied"]
            assert ed.documents["untitled:Untitled-1"].text == FIRST


async def test_a_stopped_session_writes_no_row_and_frees_the_document(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            proposal = await ed.next_proposal()
            assert await ed.ask("stopSession", {"session": session}) == {}
            assert (await ed.next_event_of_the_end())["status"] == "abandoned"
            with pytest.raises(JsonRpcException, match="has ended"):
                await ed.ask(
                    "answer", {"session": session, "attempt": proposal["attempt"], "verdict": "redo"}
                )
            assert ed.documents[uri].text == BASE
            assert rows(home) == []
            await ed.start(uri)


async def test_a_key_is_asked_for_and_reaches_only_the_teacher(home, uri):
    with _teacher(FIRST) as teacher:
        spec = teacher.teacher()
        async with editor(home, teachers=[spec]) as ed:
            ed.keys[spec] = "a-test-key"
            ed.open(uri, BASE)
            await ed.start(uri)
            await ed.next_proposal()
            assert ed.key_requests == [spec]
        assert teacher.requests[0]["headers"]["Authorization"] == "Bearer a-test-key"


async def test_stuck_sessions_ask_for_help(home, uri):
    failing = "raise SystemExit('no')\n"
    with _teacher(failing) as teacher:
        async with editor(home, teachers=[teacher.teacher()], maxAttempts=1) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)
            asked = await ed.next_event("help_needed")
            assert asked["choices"] == ["retry", "skip", "stop"]
            mine = "print('hello')\nprint('by hand')\n"
            help_ = {"session": session, "choice": "retry", "script": mine}
            assert await ed.ask("help", help_) == {}
            assert (await ed.next_event_of_the_end())["status"] == "done"
            assert ed.documents[uri].text == mine
    (row,) = rows(home)
    assert "by hand" in row["chosen"]


async def test_what_is_done_by_hand_is_applied_like_an_accepted_proposal(home, uri):
    base = "print('hello')\n\n\nx = 1\n"
    failing = "raise SystemExit('no')\n"
    with _teacher(failing, steps=("say goodbye", "count")) as teacher:
        async with editor(home, teachers=[teacher.teacher()], maxAttempts=1) as ed:
            ed.open(uri, base)
            session = await ed.start(uri)
            asked = await ed.next_event("help_needed")
            assert (asked["base"], asked["script"]) == (base, base)

            ed.type(uri, [(None, "print('hi')\n\n\nx = 1\n")])
            theirs = {"session": session, "choice": "retry", "script": base.replace("hello", "goodbye")}
            with pytest.raises(JsonRpcException, match="changed in the same lines meanwhile"):
                await ed.ask("help", theirs)
            assert ed.edits == []
            again = await ed.next_event("help_needed")
            assert (again["base"], again["script"]) == (ed.documents[uri].text, theirs["script"])

            ed.type(uri, [(types.Range(types.Position(3, 0), types.Position(3, 5)), "x = 2")])
            assert await ed.ask("help", theirs) == {}
            merged = "print('goodbye')\n\n\nx = 2\n"
            assert ed.documents[uri].text == merged
            assert ed.edits[0].edit.document_changes[0].text_document.version == 3
            assert ed.edits[0].label == "Precision Shaking: say goodbye"
            assert (await ed.next_event("step_accepted"))["script"] == theirs["script"]
            # The next step goes on from what the document holds.
            await ed.next_event("help_needed")
            assert merged in teacher.asked("worker")[-1]["messages"][-1]["content"]


async def test_an_editor_that_did_not_apply_what_was_done_by_hand_is_asked_again(home, uri):
    with _teacher("raise SystemExit('no')\n") as teacher:
        async with editor(home, behaviour="refusing", teachers=[teacher.teacher()], maxAttempts=1) as ed:
            ed.open(uri, BASE)
            mine = {"session": await ed.start(uri), "choice": "retry", "script": FIRST}
            await ed.next_event("help_needed")
            with pytest.raises(JsonRpcException, match="refused the edit"):
                await ed.ask("help", mine)
            assert rows(home) == []
            assert (await ed.next_event("help_needed"))["script"] == FIRST
            ed.behaviour = "honest"
            assert await ed.ask("help", mine) == {}
            await ed.next_event_of_the_end()
            assert ed.documents[uri].text == FIRST
    assert len(rows(home)) == 1


@pytest.mark.parametrize(
    ("text", "language", "request_", "sentence"),
    [
        ("", "python", "x", "The document is empty"),
        ("  \n", "python", "x", "The document is empty"),
        ("hello", "", "x", "has no language yet"),
        (BASE, "python", "  ", "The change request is empty"),
    ],
)
async def test_documents_that_cannot_have_a_session_are_refused(
    home, uri, text, language, request_, sentence
):
    async with editor(home) as ed:
        ed.open(uri, text, language)
        with pytest.raises(JsonRpcException, match=sentence):
            await ed.start(uri, request_)


async def test_other_bad_states_are_refused_with_a_sentence(home, uri):
    with _teacher(FIRST) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            with pytest.raises(JsonRpcException, match="not open"):
                await ed.start(uri)
            with pytest.raises(JsonRpcException, match="documents of this kind"):
                await ed.start("vscode-notebook-cell:/book.ipynb#1")
            ed.open(uri, BASE)
            session = await ed.start(uri)
            with pytest.raises(JsonRpcException, match="running already"):
                await ed.start(uri)
            proposal = await ed.next_proposal()
            with pytest.raises(JsonRpcException, match="outdated"):
                await ed.ask("answer", {"session": session, "attempt": "older", "verdict": "redo"})
            with pytest.raises(JsonRpcException, match="say something"):
                await ed.ask("answer", {"session": session, "attempt": proposal["attempt"]})
            with pytest.raises(JsonRpcException, match="not waiting for help"):
                await ed.ask("help", {"session": session, "choice": "retry"})
            ed.close(uri)
            with pytest.raises(JsonRpcException, match="not open"):
                await ed.ask(
                    "answer", {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
                )
