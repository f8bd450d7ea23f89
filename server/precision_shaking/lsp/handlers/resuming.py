"""Sessions that broke off."""

from __future__ import annotations

from precision_shaking.lsp import protocol, resuming
from precision_shaking.lsp.protocol_resuming import (
    AbandonSessionParams,
    OpenSessionsResult,
    ResumeSessionParams,
    ResumeSessionResult,
)
from precision_shaking.lsp.rpc import request
from precision_shaking.lsp.server import Server


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.OPEN_SESSIONS, protocol.Nothing)
    async def open_sessions(_: protocol.Nothing) -> OpenSessionsResult:
        return OpenSessionsResult(await resuming.open_sessions(server))

    @request(server, protocol.RESUME_SESSION, ResumeSessionParams)
    async def resume(params: ResumeSessionParams) -> ResumeSessionResult:
        return ResumeSessionResult((await resuming.resume(server, params.session)).uid)

    @request(server, protocol.ABANDON_SESSION, AbandonSessionParams)
    async def abandon(params: AbandonSessionParams) -> protocol.Nothing:
        await resuming.abandon(server, params.session)
        return protocol.Nothing()
