"""The language server: what it holds, and the handlers it is built from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, cast

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.uris import uri_scheme

from precision_shaking import __version__
from precision_shaking.lsp.codec import to_wire
from precision_shaking.lsp.documents import Document
from precision_shaking.lsp.editing import Watch
from precision_shaking.lsp.feedback_file import FeedbackFiles
from precision_shaking.lsp.protocol_resuming import OpenSession
from precision_shaking.lsp.rpc import Protocol, RefusedError
from precision_shaking.lsp.sessions import Sessions
from precision_shaking.sape.process import EngineError
from precision_shaking.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

# An editor that does not answer is no reason not to work.
_SETTINGS_SECONDS = 5.0
_SCHEMES = ("file", "untitled", "vscode-remote", "")


class Server(LanguageServer):
    """The state of one editor's server; the handlers are in `handlers/`."""

    protocol: Protocol

    def __init__(self) -> None:
        super().__init__("precision-shaking", __version__, protocol_cls=Protocol)
        self.settings = Settings()
        self.sessions = Sessions()
        self.watch = Watch()
        self.feedback_files = FeedbackFiles()
        # Sessions that broke off, by their documents, and those the user was asked about.
        self.waiting: dict[str, OpenSession] = {}
        self.offered: set[str] = set()
        self.reading_settings: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def was_shut_down(self) -> bool:
        """Whether the client asked for a shutdown before it left."""
        return self.protocol.was_shut_down

    async def settings_now(self) -> Settings:
        """The settings, once the editor has answered the question for them."""
        if self.reading_settings is not None:
            await asyncio.wait({self.reading_settings}, timeout=_SETTINGS_SECONDS)
        return self.settings

    def run_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something that no request waits for. What goes wrong is shown or, when it is a bug, logged."""
        task = asyncio.create_task(work, name=name)
        # The loop itself holds tasks only weakly.
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, RefusedError | EngineError | SettingsError):
            self.warn(str(error))
        else:
            logger.error("could not %s", task.get_name(), exc_info=error)

    def tell(self, method: str, params: Any) -> None:
        """Send one of our notifications."""
        self.protocol.notify(method, to_wire(params))

    async def ask(self, method: str, params: Any) -> Any:
        """Send one of our requests; its result as JSON."""
        return await self.protocol.send_request_async(method, to_wire(params))

    def say(self, message: str) -> None:
        """Show the user a sentence."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Info, message))

    def warn(self, message: str) -> None:
        """Show the user a sentence about something that did not work."""
        self.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))

    def document(self, uri: str) -> Document:
        """An open document.

        Raises:
            RefusedError: It is not open, or no file of its own (a notebook's cell, an output panel).
        """
        if uri_scheme(uri) not in _SCHEMES:
            raise RefusedError("Precision Shaking works on script files, not on documents of this kind.")
        found = self.workspace.get_text_document(uri)
        # What is not open is read from the disk, where it may be older than what the user sees elsewhere.
        if found not in self.workspace.text_documents.values():
            raise RefusedError("The document is not open in the editor; open it and try again.")
        return cast(Document, found)


def build_server() -> Server:
    """A server with every handler, ready to be started."""
    from precision_shaking.lsp.handlers import (
        actions,
        commands,
        correction,
        dataset,
        documents,
        feedback,
        lifecycle,
        resuming,
        session,
        training,
    )

    server = Server()
    rooms = (lifecycle, documents, session, resuming, feedback, correction, dataset, training)
    for room in (*rooms, actions, commands):
        room.register(server)
    return server
