"""An editor for tests: a real connection to a real server process, documents kept as an editor keeps them."""

import asyncio
import os
import re
import sqlite3
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

from lsprotocol import types
from pygls.protocol import default_converter
from pygls.uris import to_fs_path
from pytest_lsp import LanguageClient
from pytest_lsp.client import register_lsp_features
from pytest_lsp.protocol import LanguageClientProtocol

from precision_shaking.lsp import protocol
from precision_shaking.lsp.rpc import OUR_PREFIX, RawNotification, RawRequest, RawResponse

SERVE = (sys.executable, "-m", "precision_shaking", "serve")
# Seconds after which a test gives up waiting; loading torch on a busy machine takes long.
PATIENCE = 90

CAPABILITIES = types.ClientCapabilities(
    workspace=types.WorkspaceClientCapabilities(
        apply_edit=True,
        workspace_edit=types.WorkspaceEditClientCapabilities(
            document_changes=True, resource_operations=[types.ResourceOperationKind.Create]
        ),
    ),
    text_document=types.TextDocumentClientCapabilities(
        code_action=types.CodeActionClientCapabilities(
            code_action_literal_support=types.ClientCodeActionLiteralOptions(
                types.ClientCodeActionKindOptions([types.CodeActionKind.RefactorRewrite])
            )
        )
    ),
    window=types.WindowClientCapabilities(
        work_done_progress=True, show_document=types.ShowDocumentClientCapabilities(support=True)
    ),
)


class _Protocol(LanguageClientProtocol):
    """Keeps our own messages as JSON."""

    def get_message_type(self, method):
        if not method.startswith(OUR_PREFIX):
            return super().get_message_type(method)
        return RawNotification if method in protocol.NOTIFICATIONS else RawRequest

    def get_result_type(self, method):
        # lsprotocol takes every code action that has a command for the command itself.
        raw = method.startswith(OUR_PREFIX) or method == types.TEXT_DOCUMENT_CODE_ACTION
        return RawResponse if raw else super().get_result_type(method)


class Editor:
    """`behaviour` decides what becomes of the server's edits: `honest`, `saving`, `lying` or `refusing`.

    An honest one opens what it edits; a saving one writes files that are not open to the disk.
    """

    def __init__(self, client, behaviour="honest"):
        self.client = client
        self.behaviour = behaviour
        self.documents = {}
        self.edits = []
        self.keys = {}
        self.key_requests = []
        self.registered = []
        self.buttons = asyncio.Queue()
        self.questions = asyncio.Queue()
        self.shown_files = asyncio.Queue()
        self.shown = asyncio.Queue()
        self.events = asyncio.Queue()
        self.proposals = asyncio.Queue()
        self.progress = asyncio.Queue()
        client.protocol.fm.features.update(
            {
                "precisionShaking/sessionEvent": self.events.put_nowait,
                "precisionShaking/proposal": self.proposals.put_nowait,
                "precisionShaking/apiKey": self._api_key,
                types.WORKSPACE_APPLY_EDIT: self._apply_edit,
                types.WINDOW_SHOW_MESSAGE: lambda params: self.shown.put_nowait(params.message),
                types.WINDOW_SHOW_MESSAGE_REQUEST: self._choose,
                types.WINDOW_SHOW_DOCUMENT: self._show_document,
                types.PROGRESS: self.progress.put_nowait,
                types.CLIENT_REGISTER_CAPABILITY: self._register,
            }
        )

    async def ask(self, method, params=None):
        """Send one of our requests, its name without the prefix; the result as JSON."""
        sending = self.client.protocol.send_request_async(OUR_PREFIX + method, params)
        return await self.patiently(sending)

    def open(self, uri, text, language="python"):
        self.documents[uri] = SimpleNamespace(text=text, version=1)
        item = types.TextDocumentItem(uri, language, 1, text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def close(self, uri):
        del self.documents[uri]
        identifier = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(identifier))

    def save(self, uri):
        identifier = types.TextDocumentIdentifier(uri)
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(identifier))

    def type(self, uri, changes):
        """The user changes the document: [(range or None for everything, text)]."""
        document = self.documents[uri]
        document.version += 1
        events = []
        for where, text in changes:
            document.text = text if where is None else edited(document.text, where, text)
            whole = types.TextDocumentContentChangeWholeDocument(text)
            partial = where and types.TextDocumentContentChangePartial(where, text)
            events.append(partial or whole)
        identifier = types.VersionedTextDocumentIdentifier(document.version, uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(identifier, events))

    async def start(self, uri, request="say goodbye", **more):
        return (await self.ask("startSession", {"uri": uri, "request": request, **more}))["session"]

    async def next_proposal(self):
        return await self.patiently(self.proposals.get())

    async def next_event(self, kind):
        """Skip events until one of this kind."""
        async with asyncio.timeout(PATIENCE):
            while (event := (await self.events.get())["event"])["kind"] != kind:
                assert event["kind"] not in ("session_failed", "session_finished"), event
        return event

    async def next_event_of_the_end(self):
        """Skip events until the session has ended."""
        async with asyncio.timeout(PATIENCE):
            while (event := (await self.events.get())["event"])["kind"] != "session_finished":
                assert event["kind"] != "session_failed", event
        return event

    async def accept_next(self, session):
        """Accept the next proposal; the answer's answer."""
        attempt = (await self.next_proposal())["attempt"]
        return await self.ask("answer", {"session": session, "attempt": attempt, "verdict": "accepted"})

    async def next_message(self):
        return await self.patiently(self.shown.get())

    async def next_report(self):
        """The next progress value, as JSON."""
        return (await self.patiently(self.progress.get())).value

    async def patiently(self, awaitable):
        return await asyncio.wait_for(awaitable, PATIENCE)

    async def actions(self, uri, only=None):
        """The offered code actions as JSON."""
        nowhere = types.Range(types.Position(0, 0), types.Position(0, 0))
        context = types.CodeActionContext([], only)
        identifier = types.TextDocumentIdentifier(uri)
        return await self.client.text_document_code_action_async(
            types.CodeActionParams(identifier, nowhere, context)
        )

    async def run(self, command, *arguments):
        params = types.ExecuteCommandParams(command, list(arguments))
        return await self.client.workspace_execute_command_async(params)

    def _register(self, params):
        self.registered += [registration.method for registration in params.registrations]

    def _api_key(self, params):
        self.key_requests.append(params["teacher"])
        return {"key": self.keys.get(params["teacher"])}

    def _show_document(self, params):
        self.shown_files.put_nowait(params.uri)
        return types.ShowDocumentResult(True)

    async def _choose(self, params):
        self.questions.put_nowait(params)
        title = await self.buttons.get()
        return title and types.MessageActionItem(title)

    def _apply_edit(self, params):
        self.edits.append(params)
        changes = params.edit.document_changes
        identifiers = [step.text_document for step in changes if isinstance(step, types.TextDocumentEdit)]
        versions = {uri: document.version for uri, document in self.documents.items()}
        outdated = any(at.version != versions.get(at.uri) for at in identifiers)
        if self.behaviour == "refusing" or outdated:
            return types.ApplyWorkspaceEditResult(False, "document has changed")
        for step in changes if self.behaviour != "lying" else ():
            self._apply(step)
        return types.ApplyWorkspaceEditResult(True)

    def _apply(self, step):
        if isinstance(step, types.CreateFile):
            path = Path(to_fs_path(step.uri))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
            return
        uri = step.text_document.uri
        # From the end, so that the ranges before stay true.
        edits = [(edit.range, edit.new_text) for edit in reversed(step.edits)]
        if uri in self.documents:
            self.type(uri, edits)
            return
        path = Path(to_fs_path(uri))
        if self.behaviour == "honest":
            self.open(uri, path.read_text("utf-8"))
            self.type(uri, edits)
            return
        for where, text in edits:
            path.write_text(edited(path.read_text("utf-8"), where, text), "utf-8")


def edited(text, where, new):
    """The text with a range replaced, counted in UTF-16 as the protocol does by default."""
    start, end = _offset(text, where.start), _offset(text, where.end)
    units = text.encode("utf-16-le")
    return (units[:start] + new.encode("utf-16-le") + units[end:]).decode("utf-16-le")


def _offset(text, position):
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)
    before = sum(len(line.encode("utf-16-le")) for line in lines[: position.line])
    return before + 2 * position.character


@asynccontextmanager
async def editor(home, *, behaviour="honest", capabilities=CAPABILITIES, section=None, **options):
    """A server with its own data folder and an editor that has initialized it.

    `section` is what the editor answers when it is asked for its settings, `options` is what it starts with.
    """
    client = LanguageClient(protocol_cls=_Protocol, converter_factory=default_converter)
    client.set_configuration(section, section="precisionShaking")
    register_lsp_features(client)
    env = {**os.environ, "PRECISION_SHAKING_HOME": str(home)}
    await client.start_io(*SERVE, env=env)
    options = {"clientCommands": True, **options}
    params = types.InitializeParams(capabilities, initialization_options=options)
    result = await asyncio.wait_for(client.initialize_session(params), PATIENCE)
    the_editor = Editor(client, behaviour)
    the_editor.server_capabilities = result.capabilities
    try:
        yield the_editor
    finally:
        # A test may have killed it.
        if client._server.returncode is None:
            await asyncio.wait_for(client.shutdown_session(), PATIENCE)
        await client.stop()


async def wait_for_end(pid):
    """Wait until a process is gone that need not be our child. Linux only."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), PATIENCE)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def rows(home):
    """The dataset's complete rows, oldest first."""
    with sqlite3.connect(home / "dataset.db") as connection:
        connection.row_factory = sqlite3.Row
        found = [dict(row) for row in connection.execute("select * from dorpo")]
    connection.close()
    return found
