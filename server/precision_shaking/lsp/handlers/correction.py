"""The user's corrections of what was read from their words."""

from __future__ import annotations

from precision_shaking.lsp import correcting, protocol
from precision_shaking.lsp.rpc import request
from precision_shaking.lsp.server import Server


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.CORRECT, protocol.CorrectParams)
    async def correct(params: protocol.CorrectParams) -> protocol.Nothing:
        await correcting.correct(server, params.session, params.attempt, params.verdict)
        return protocol.Nothing()
