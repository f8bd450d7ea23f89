"""One session through the real server that has everything a session can have, and the rows that it leaves."""

from scripted_teacher import ScriptedTeacher, instruct, plan, work

from tests.server.lsp_editor import editor, rows

BASE = "print('hello')\n"
BROKEN = "print('hello', 1 / 0)\n"
WRONG = "print('HELLO')\n"
ONE = "print('hello, you')\n"
HALF = "print('hello, you')\nprint('bye')\n"
TWO = "print('hello, you')\nprint('bye, you')\n"
MINE = "print('hello, you')\nprint('farewell')\n"
THREE = "print('hello, you')\nprint('farewell')\nprint('again')\n"
STEPS = ("greet somebody", "say goodbye", "start over")


async def test_three_steps_leave_exactly_the_rows_of_the_design(home, tmp_path):
    uri = (tmp_path / "greet.py").as_uri()
    instructions = [
        instruct(words) for words in ("Greet.", "Divide not.", "Be quiet.", "Part.", "Better.", "Again.")
    ]
    first = ScriptedTeacher(
        {
            "planner": [plan(*STEPS)],
            "lead": instructions,
            "worker": [work(script) for script in (BROKEN, WRONG, HALF, TWO, THREE)],
        }
    )
    second = ScriptedTeacher({"worker": [work(ONE)]})
    with first, second:
        pool = [first.teacher("openai/first"), second.teacher("openai/second")]
        async with editor(home, teachers=pool, maxAttempts=2) as ed:
            ed.open(uri, BASE)
            session = await ed.start(uri)

            async def answer(expected, **said):
                proposal = await ed.next_proposal()
                assert proposal["proposed"] == expected
                result = await ed.ask("answer", {"session": session, "attempt": proposal["attempt"], **said})
                assert result["applied"] is (said["verdict"] == "accepted")

            # Step 1: an error that nobody is shown, a redo, then the other teacher's answer.
            await answer(WRONG, verdict="redo", words="not so loud")
            assert (await ed.next_event("teacher_switched"))["teacher"].startswith("openai/second")
            assert ed.documents[uri].text == BASE
            await answer(ONE, verdict="accepted")
            assert ed.documents[uri].text == ONE
            # Step 2: a further edit, then an accept of what the user made of the proposal.
            await answer(HALF, verdict="further_edit", words="say to whom")
            await answer(TWO, verdict="accepted", proposed=MINE)
            assert ed.documents[uri].text == MINE
            # Step 3: right at once.
            await answer(THREE, verdict="accepted")
            assert ed.documents[uri].text == THREE
            assert (await ed.next_event_of_the_end())["rows"] == 5

    found = rows(home)
    assert [(row["step"], row["reason"], row["rejected"]) for row in found] == [
        (0, "error", work(BROKEN)),
        (0, "redo", work(WRONG)),
        (1, "further_edit", work(HALF)),
        (1, "amended", work(TWO)),
        (2, None, None),
    ]
    chosen = [row["chosen"] for row in found]
    assert chosen[:2] == [work(ONE)] * 2
    assert chosen[2] == chosen[3]
    assert MINE.strip() in chosen[2]
    assert chosen[4] == work(THREE)
    assert [row["teacher"].split("@")[0] for row in found] == [
        *["openai/second"] * 2,
        *["user"] * 2,
        "openai/first",
    ]
    # The prompt of a step is its first cycle's, whatever was instructed later.
    for row, instruction, script in zip(
        found, ("Greet.", "Greet.", "Part.", "Part.", "Again."), (BASE, BASE, ONE, ONE, MINE), strict=True
    ):
        assert instruction in row["prompt"]
        assert script.strip() in row["prompt"]
    assert [bool(row["has_soft_labels"]) for row in found] == [True, True, False, False, True]
