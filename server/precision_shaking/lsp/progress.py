"""Progress that the user sees and can cancel."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from attrs import frozen
from lsprotocol import types
from pygls.capabilities import get_capability
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server


@frozen
class Bar:
    """One progress, possibly with nobody to see it."""

    _server: Server
    _token: types.ProgressToken | None

    def report(self, message: str, percentage: int | None = None) -> None:
        """Say how far it is; `percentage` 0 to 100."""
        if self._token is not None:
            value = types.WorkDoneProgressReport(message=message, percentage=percentage, cancellable=True)
            self._server.work_done_progress.report(self._token, value)


@asynccontextmanager
async def progress(
    server: Server,
    title: str,
    token: types.ProgressToken | None,
    on_cancel: Callable[[], object],
    *,
    measured: bool = True,
) -> AsyncIterator[Bar]:
    """Show a progress as long as the block runs.

    Args:
        server: Whose editor shows it.
        title: What is going on.
        token: The client's own; without it one is made, where the client can show it.
        on_cancel: Called when the user cancels it.
        measured: Whether it will say percentages.
    """
    bars = server.work_done_progress
    if token is None and get_capability(server.client_capabilities, "window.work_done_progress", False):
        # An editor that cannot show one now is no reason not to work.
        with suppress(JsonRpcException):
            made = str(uuid.uuid4())
            await bars.create_async(made)
            token = made
    if token is None:
        yield Bar(server, None)
        return
    percentage = 0 if measured else None
    bars.begin(token, types.WorkDoneProgressBegin(title, cancellable=True, percentage=percentage))
    loop = asyncio.get_running_loop()
    bars.tokens[token].add_done_callback(lambda _: loop.call_soon(on_cancel))
    try:
        yield Bar(server, token)
    finally:
        bars.end(token, types.WorkDoneProgressEnd())
        # The library keeps tokens for ever.
        bars.tokens.pop(token, None)
