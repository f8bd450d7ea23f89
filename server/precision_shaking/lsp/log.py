"""Where log records go: ours to the editor's log window, warnings and what comes before it to stderr."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

if TYPE_CHECKING:
    from pygls.lsp.server import LanguageServer

OURS = "precision_shaking"

_TYPES = {
    logging.ERROR: types.MessageType.Error,
    logging.WARNING: types.MessageType.Warning,
    logging.INFO: types.MessageType.Info,
}


class WindowLog(logging.Handler):
    """Sends records to the editor as `window/logMessage`."""

    def __init__(self, server: LanguageServer) -> None:
        super().__init__(logging.INFO)
        self._server = server

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        try:
            kind = _TYPES.get(min(record.levelno, logging.ERROR), types.MessageType.Log)
            self._server.window_log_message(types.LogMessageParams(kind, self.format(record)))
        except Exception:
            # The way to the editor is gone: there is nobody left to tell.
            self.handleError(record)


def log_to_stderr() -> None:
    """Set up logging before there is an editor.

    The library logs every outgoing message at INFO, the user's code included: it may only warn.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_not_an_answer)
    logging.getLogger().addHandler(handler)
    logging.getLogger("pygls").setLevel(logging.WARNING)
    logging.getLogger(OURS).setLevel(logging.INFO)


def log_to_editor(server: LanguageServer) -> None:
    """Send our own records to the editor's log window, and from now on only warnings to stderr."""
    # Editors write a server's stderr into the same log: what merely informs would be there twice.
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)
    logging.getLogger(OURS).addHandler(WindowLog(server))


def _not_an_answer(record: logging.LogRecord) -> bool:
    """The library logs a traceback for every refused request; the client already has the refusal."""
    return not (record.exc_info and isinstance(record.exc_info[1], JsonRpcException))
