"""JSON-RPC on top of the library: typed requests of ours that are always answered, and its gaps closed.

What is put right here was measured on pygls 2.1.1 and has a test each:
a request with malformed parameters gets no reply; every notification leaves a future behind; a reply that
comes after its request was cancelled is shown to the user as a server error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInternalError, JsonRpcInvalidParams
from pygls.protocol import LanguageServerProtocol

from precision_shaking.lsp import protocol
from precision_shaking.lsp.codec import WireFormatError, from_wire, to_wire
from precision_shaking.lsp.documents import Documents
from precision_shaking.sape.process import EngineError
from precision_shaking.settings import SettingsError

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

Params = TypeVar("Params")

logger = logging.getLogger(__name__)

OUR_PREFIX = "precisionShaking/"
# The argument of the CancelledError that a client's `$/cancelRequest` raises in a handler.
CANCELLED_BY_CLIENT = "cancelled by the client"


class RefusedError(Exception):
    """What the client asks for cannot be done now; the message is one sentence for the user."""


# No default for `jsonrpc`: the library's converter leaves defaults out.
@frozen
class RawRequest:
    """A request whose parameters stay JSON."""

    id: Any
    method: str
    jsonrpc: str
    params: Any = None


@frozen
class RawNotification:
    """A notification whose parameters stay JSON."""

    method: str
    jsonrpc: str
    params: Any = None


@frozen
class RawResponse:
    """A response whose result stays JSON."""

    id: Any
    jsonrpc: str
    result: Any = None


class _Ignored:
    """Stands for a message that has been dealt with while it was read."""


class Protocol(LanguageServerProtocol):
    """The library's protocol with raw messages of ours and without its leaks."""

    # The library's are wrapped in a cache, which cannot be overridden by name and type at once.
    def get_message_type(self, method: str) -> type[Any] | None:  # type: ignore[override]
        """Ours stay JSON; they are read by `request`."""
        if not method.startswith(OUR_PREFIX):
            found: type[Any] | None = super().get_message_type(method)
            return found
        return RawNotification if method in protocol.NOTIFICATIONS else RawRequest

    def get_result_type(self, method: str) -> type[Any] | None:  # type: ignore[override]
        """Ours stay JSON."""
        if method.startswith(OUR_PREFIX):
            return RawResponse
        found: type[Any] | None = super().get_result_type(method)
        return found

    @property
    def was_shut_down(self) -> bool:
        """Whether the client asked for a shutdown."""
        return self._shutdown

    def count_lines_as_editors_do(self) -> None:
        """Use our documents; to be called while there are none, during `initialize`."""
        self._workspace = Documents.in_place_of(self.workspace)

    def pending(self) -> int:
        """How many requests and notifications, of either side, are not done."""
        return len(self._request_futures)

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Read a message; a malformed request is answered at once and a malformed result fails its waiter."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "id" not in data:
                raise
            refusal = types.ResponseError(JsonRpcInvalidParams.CODE, error.message or "Invalid Params")
            if "method" in data:
                self._send_response(data["id"], error=refusal)
            else:
                self._handle_response(data["id"], error=refusal)
            return _Ignored()

    def handle_message(self, message: Any) -> None:
        """Handle what `structure_message` read."""
        if not isinstance(message, _Ignored):
            super().handle_message(message)

    def _execute_handler(
        self, msg_id: Any, handler: Any, callback: Any, args: Any = None, kwargs: Any = None
    ) -> None:
        super()._execute_handler(msg_id, handler, callback, args, kwargs)
        future = self._request_futures.get(msg_id)
        if future is not None:
            future.add_done_callback(lambda _: self._request_futures.pop(msg_id, None))

    def _handle_response(
        self, msg_id: Any, result: Any = None, error: types.ResponseError | None = None
    ) -> None:
        self._result_types.pop(msg_id, None)
        future = self._request_futures.get(msg_id)
        if future is not None and future.done():
            # Whoever waited was cancelled.
            self._request_futures.pop(msg_id)
            return
        super()._handle_response(msg_id, result, error)

    def _handle_cancel_notification(self, msg_id: Any) -> None:
        task: Any = self._request_futures.get(msg_id)
        if isinstance(task, asyncio.Task):
            # The reason tells a handler whether the user cancelled or the process is ending.
            task.cancel(CANCELLED_BY_CLIENT)
        else:
            super()._handle_cancel_notification(msg_id)


def request(
    server: Server, method: str, params_type: type[Params]
) -> Callable[[Callable[[Params], Awaitable[Any]]], Callable[[Params], Awaitable[Any]]]:
    """Register a handler of one of our requests: typed parameters in, a typed result out, always an answer.

    Malformed parameters are answered with -32602, a refusal with -32803 and its sentence. Anything else that
    is raised is logged with its traceback and answered without it.
    """

    def register(handle: Callable[[Params], Awaitable[Any]]) -> Callable[[Params], Awaitable[Any]]:
        @server.feature(method)
        async def handler(params: Any) -> Any:
            try:
                return to_wire(await handle(from_wire(params, params_type)))
            except WireFormatError as error:
                raise JsonRpcInvalidParams(f"{method}: {error}") from error
            except (RefusedError, EngineError, SettingsError) as error:
                raise JsonRpcException(str(error), types.LSPErrorCodes.RequestFailed.value) from error
            except Exception as error:
                logger.exception("%s failed", method)
                raise JsonRpcInternalError(
                    "Something went wrong in the language server; its log says what."
                ) from error

        return handle

    return register
