"""Sessions that broke off."""

from __future__ import annotations

from precision_shaking.lsp import protocol, resuming
from precision_shaking.lsp.rpc import request
from precision_shaking.lsp.server import Server


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.OPEN_SESSIONS, protocol.Nothing)
    async def open_sessions(_: protocol.Nothing) -> protocol.OpenSessionsResult:
        return protocol.OpenSessionsResult(await resuming.open_sessions(server))

    @request(server, protocol.RESUME_SESSION, protocol.ResumeSessionParams)
    async def resume(params: protocol.ResumeSessionParams) -> protocol.ResumeSessionResult:
        return protocol.ResumeSessionResult((await resuming.resume(server, params.session)).uid)

    @request(server, protocol.ABANDON_SESSION, protocol.AbandonSessionParams)
    async def abandon(params: protocol.AbandonSessionParams) -> protocol.Nothing:
        await resuming.abandon(server, params.session)
        return protocol.Nothing()
