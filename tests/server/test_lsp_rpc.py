"""Each gap of the library that `lsp/rpc.py` closes has a test here."""

import asyncio

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from precision_shaking.lsp import protocol
from precision_shaking.lsp.rpc import request
from precision_shaking.lsp.server import build_server
from tests.server.lsp_editor import PATIENCE, editor

URI = "file:///greet.py"


async def _error(awaitable):
    with pytest.raises(JsonRpcException) as caught:
        await awaitable
    return caught.value


async def test_malformed_requests_of_ours_are_answered(home):
    async with editor(home) as ed:
        for method in ("startSession", "answer", "help", "stopSession", "startTraining", "datasetStats"):
            for params in (["x"], "x", {"nonsense": 1}):
                error = await _error(ed.ask(method, params))
                assert error.code == -32602
                assert error.message.startswith(f"precisionShaking/{method}: ")


@pytest.mark.parametrize("method", ["textDocument/codeAction", "workspace/executeCommand", "unknown/method"])
@pytest.mark.parametrize("params", [{"nonsense": 1}, None, []])
async def test_malformed_requests_of_the_protocol_are_answered(method, params):
    server = build_server()
    answers = _Nowhere()
    server.protocol.set_writer(answers)
    server.protocol.handle_message(_initialize())
    answers.written.clear()
    message = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    server.protocol.handle_message(server.protocol.structure_message(message))
    (answer,) = answers.written
    assert b'"id": 7' in answer
    assert b"-32602" in answer or b"-32601" in answer


async def test_a_command_with_wrong_arguments_is_refused(home):
    async with editor(home) as ed:
        for arguments in ([], [1], ["a", "b", "c"]):
            assert (await _error(ed.run("precisionShaking.server.start", *arguments))).code == -32602


async def test_a_refusal_is_a_request_that_failed_with_a_sentence(home):
    async with editor(home) as ed:
        error = await _error(ed.ask("stopSession", {"session": "none"}))
        assert (error.code, error.message) == (-32803, "This session has ended; start a new one.")
        assert error.data is None


async def test_cancelling_a_start_ends_its_engine(home):
    with ScriptedTeacher({}) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(URI, "print()\n")
            asked = asyncio.Event()
            never = asyncio.Event()

            async def key(_):
                asked.set()
                await never.wait()

            ed.client.protocol.fm.features["precisionShaking/apiKey"] = key
            number = "start-1"
            starting = ed.client.protocol.send_request(
                "precisionShaking/startSession", {"uri": URI, "request": "x"}, msg_id=number
            )
            await asyncio.wait_for(asked.wait(), PATIENCE)
            ed.client.cancel_request(types.CancelParams(number))
            error = await _error(asyncio.wait_for(asyncio.wrap_future(starting), PATIENCE))
            assert error.code == -32800
            # The late answer to the server's question is nobody's business any more.
            never.set()
            ed.client.protocol.fm.features["precisionShaking/apiKey"] = lambda _: {"key": None}
            await ed.start(URI)
            assert ed.shown.empty()


async def test_notifications_leave_nothing_behind():
    server = build_server()
    server.protocol.set_writer(_Nowhere())
    server.protocol.handle_message(_initialize())
    opened = types.DidOpenTextDocumentParams(types.TextDocumentItem(URI, "python", 1, ""))
    server.protocol.handle_message(types.DidOpenTextDocumentNotification(opened))
    for version in range(2, 102):
        identifier = types.VersionedTextDocumentIdentifier(version, URI)
        change = types.TextDocumentContentChangeWholeDocument(f"x = {version}\n")
        changed = types.DidChangeTextDocumentParams(identifier, [change])
        server.protocol.handle_message(types.DidChangeTextDocumentNotification(changed))
    assert server.document(URI).text == "x = 101\n"
    assert server.protocol.pending() == 0


async def test_a_bug_is_answered_without_its_traceback():
    server = build_server()
    answers = _Nowhere()
    server.protocol.set_writer(answers)
    server.protocol.handle_message(_initialize())

    @request(server, "precisionShaking/broken", protocol.Nothing)
    async def broken(_):
        raise KeyError("secret")

    message = {"jsonrpc": "2.0", "id": 9, "method": "precisionShaking/broken", "params": {}}
    answers.arrived.clear()
    server.protocol.handle_message(server.protocol.structure_message(message))
    await asyncio.wait_for(answers.arrived.wait(), PATIENCE)
    assert b"its log says what" in answers.written[-1]
    assert b"secret" not in answers.written[-1]


async def test_a_malformed_result_fails_whoever_waits_for_it():
    server = build_server()
    server.protocol.set_writer(_Nowhere())
    server.protocol.handle_message(_initialize())
    edit = types.ApplyWorkspaceEditParams(types.WorkspaceEdit())
    waiting = server.protocol.send_request("workspace/applyEdit", edit, msg_id="1")
    message = {"jsonrpc": "2.0", "id": "1", "result": {"applied": {}, "failedChange": "x"}}
    server.protocol.handle_message(server.protocol.structure_message(message))
    error = await _error(asyncio.wrap_future(waiting))
    assert error.code == -32602


async def test_lines_end_where_the_protocol_says(home):
    """A form feed ends a line for Python's `splitlines` and so for the library, not for an editor."""
    base = "print('one')\n\x0c\nprint('two')\nprint('and')\nprint('three')\n"
    wanted = base.replace("two", "TWO")
    script = {"planner": [plan("shout")], "lead": [instruct("Shout.")], "worker": [work(wanted)]}
    with ScriptedTeacher(script) as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(URI, base)
            session = await ed.start(URI)
            proposal = await ed.next_proposal()
            where = types.Range(types.Position(4, 0), types.Position(4, 0))
            ed.type(URI, [(where, "\n\n")])
            answer = {"session": session, "attempt": proposal["attempt"], "verdict": "accepted"}
            assert (await ed.ask("answer", answer))["applied"]
            assert ed.documents[URI].text == wanted.replace("print('three')", "\n\nprint('three')")


class _Nowhere:
    """Where messages of a server without an editor go."""

    def __init__(self):
        self.written = []
        self.arrived = asyncio.Event()

    def write(self, data):
        self.written.append(data)
        self.arrived.set()

    def close(self):
        """Nothing to close."""


def _initialize():
    params = types.InitializeParams(types.ClientCapabilities())
    return types.InitializeRequest(0, params)
