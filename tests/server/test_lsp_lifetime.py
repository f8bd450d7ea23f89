import asyncio
import json
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from lsprotocol import types
from scripted_teacher import ScriptedTeacher, instruct, plan, work

from tests.server.lsp_editor import CAPABILITIES, PATIENCE, SERVE, editor, wait_for_end

URI = "file:///greet.py"


def _slow_teacher():
    reply = {"content": work("print()"), "delay": 600}
    return ScriptedTeacher({"planner": [plan("wait")], "lead": [instruct("Wait.")], "worker": [reply]})


def _children(pid):
    """All living descendants of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [int(child) for child in listed] + [more for child in listed for more in _children(int(child))]


async def _gone(pids):
    for pid in pids:
        await wait_for_end(pid)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and waits on process descriptors")


@linux
async def test_a_killed_editor_leaves_no_server_and_no_engine(home):
    """The editor is a process of its own here, killed in the middle of a worker's answer."""
    with _slow_teacher() as teacher:
        program = (
            "import asyncio, sys, pathlib\n"
            "from tests.server.lsp_editor import editor\n"
            "async def main():\n"
            f"    async with editor(pathlib.Path({str(home)!r}), teachers=[{teacher.teacher()!r}]) as ed:\n"
            f"        ed.open({URI!r}, 'print(1)\\n')\n"
            f"        await ed.start({URI!r})\n"
            "        await ed.next_event('instruction_ready')\n"
            "        print('working', flush=True)\n"
            "        await asyncio.Event().wait()\n"
            "asyncio.run(main())\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"working\n"
        descendants = _children(process.pid)
        assert len(descendants) >= 2
        process.kill()
        await process.wait()
        await _gone(descendants)


@linux
async def test_a_shutdown_ends_the_engines_and_lets_their_sessions_wait(home):
    with _slow_teacher() as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(URI, "print(1)\n")
            await ed.start(URI)
            await ed.next_event("instruction_ready")
            server = ed.client._server
            descendants = _children(server.pid)
        await _gone(descendants)
        assert server.returncode == 0


def _serve(*arguments):
    return subprocess.run(
        [*SERVE, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def test_an_editor_that_hangs_up_ends_the_server_with_a_status():
    done = _serve()
    assert (done.returncode, done.stdout) == (1, b"")


def test_the_usual_argument_is_known_and_others_are_told():
    assert _serve("--stdio").returncode == 1
    unknown = _serve("--port")
    assert unknown.returncode == 2
    assert b"--port" in unknown.stderr
    helped = _serve("--help")
    assert (helped.returncode, helped.stdout.partition(b"\n")[0]) == (0, b"usage: precision-shaking serve")


def test_whatever_prints_does_not_reach_the_protocol():
    program = (
        "import os, subprocess, sys\n"
        "from precision_shaking.lsp.stdio import claim_stdio\n"
        "reader, writer = claim_stdio()\n"
        "print('print')\n"
        "os.write(1, b'descriptor\\n')\n"
        "subprocess.run(['echo', 'child'])\n"
        "writer.write(reader.read()); writer.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], input=b"message", capture_output=True, check=True)
    assert done.stdout == b"message"
    assert {b"print", b"descriptor", b"child"} <= set(done.stderr.split())


async def test_a_wrong_setting_is_told_after_the_start(home):
    async with editor(home, maxAttempts=0) as ed:
        message = await ed.next_message()
        assert message == "The setting precisionShaking.maxAttempts must be a whole number of at least 1."


def _asking_for_settings():
    change = types.DidChangeConfigurationClientCapabilities(dynamic_registration=True)
    workspace = attrs.evolve(CAPABILITIES.workspace, configuration=True, did_change_configuration=change)
    return attrs.evolve(CAPABILITIES, workspace=workspace)


async def test_settings_are_asked_for_and_read_again_when_they_change(home):
    with _slow_teacher() as first, _slow_teacher() as second:
        section = {"teachers": [first.teacher("openai/first")], "maxAttempts": None}
        async with editor(home, capabilities=_asking_for_settings(), section=section) as ed:
            ed.open(URI, "print(1)\n")
            session = await ed.start(URI)
            assert (await ed.next_event("session_started"))["teachers"] == ["openai/first"]
            await ed.ask("stopSession", {"session": session})
            assert ed.registered == ["workspace/didChangeConfiguration"]

            ed.client.set_configuration(
                {"teachers": [second.teacher("openai/second")]}, section="precisionShaking"
            )
            ed.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(None))
            await ed.next_event_of_the_end()
            await ed.start(URI)
            assert (await ed.next_event("session_started"))["teachers"] == ["openai/second"]


async def test_log_records_of_ours_reach_the_editor_and_no_script_does(home):
    teacher = ScriptedTeacher(
        {"planner": [plan("x")], "lead": [instruct("x")], "worker": [work("print('secret')")]}
    )
    with teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            ed.open(URI, "print('secret')\n")
            await ed.start(URI)
            await ed.next_proposal()
            messages = [message.message for message in ed.client.log_messages]
    assert any("is ready" in message for message in messages)
    assert "secret" not in json.dumps(messages)


def test_what_the_editor_logs_is_not_on_stderr_as_well():
    def message(**fields):
        body = json.dumps({"jsonrpc": "2.0", **fields}).encode()
        return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)

    start = {"processId": None, "rootUri": None, "capabilities": {}}
    messages = (
        message(id=1, method="initialize", params=start),
        message(method="initialized", params={}),
        message(id=2, method="shutdown"),
        message(method="exit"),
    )
    done = subprocess.run(SERVE, input=b"".join(messages), capture_output=True, timeout=PATIENCE, check=True)
    assert done.stdout.count(b"is ready") == 1
    assert b"is ready" not in done.stderr
