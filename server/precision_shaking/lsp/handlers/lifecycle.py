"""From `initialize` to `shutdown`: settings, logging, and the end of every engine."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from lsprotocol import types
from pygls.capabilities import get_capability

from precision_shaking.lsp.log import log_to_editor
from precision_shaking.lsp.resuming import look
from precision_shaking.lsp.server import Server
from precision_shaking.settings import SECTION, SettingsError

logger = logging.getLogger(__name__)

# A client kills what has not ended two seconds after it asked.
_FAREWELL_SECONDS = 1.0


def register(server: Server) -> None:
    """Register this room's handlers."""
    complaints: list[str] = []

    @server.feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.protocol.count_lines_as_editors_do()
        try:
            server.settings = server.settings.updated(params.initialization_options)
        except SettingsError as error:
            # A wrong setting must not keep the server from starting, and nothing may be shown before it has.
            complaints.append(str(error))

    @server.feature(types.INITIALIZED)
    async def initialized(_: types.InitializedParams) -> None:
        log_to_editor(server)
        logger.info("Precision Shaking %s is ready", server.version)
        for complaint in complaints:
            server.warn(complaint)
        server.reading_settings = server.run_task(_follow_settings(server), "read the settings")
        if not server.settings.client_commands:
            server.run_task(look(server), "look for sessions that broke off")

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def configured(params: types.DidChangeConfigurationParams) -> None:
        if _can_ask_for_settings(server):
            server.reading_settings = server.run_task(_read_settings(server), "read the settings")
        elif isinstance(params.settings, dict):
            _use(server, params.settings.get(SECTION))

    @server.feature(types.SHUTDOWN)
    async def shutdown(_: Any) -> None:
        # Leaving the editor is no decision: the sessions wait to be resumed.
        farewells = [asyncio.create_task(session.engine.close()) for session in server.sessions]
        if farewells:
            await asyncio.wait(farewells, timeout=_FAREWELL_SECONDS)
        server.sessions.kill()
        server.feedback_files.clear()


def _can_ask_for_settings(server: Server) -> bool:
    return bool(get_capability(server.client_capabilities, "workspace.configuration", False))


async def _follow_settings(server: Server) -> None:
    """Read the settings, and ask to be told when they change."""
    dynamic = "workspace.did_change_configuration.dynamic_registration"
    if get_capability(server.client_capabilities, dynamic, False):
        method = types.WORKSPACE_DID_CHANGE_CONFIGURATION
        registration = types.Registration(f"{SECTION}-settings", method, {"section": SECTION})
        await server.client_register_capability_async(types.RegistrationParams([registration]))
    if _can_ask_for_settings(server):
        await _read_settings(server)


async def _read_settings(server: Server) -> None:
    items = [types.ConfigurationItem(section=SECTION)]
    answers = await server.workspace_configuration_async(types.ConfigurationParams(items))
    _use(server, answers[0] if answers else None)


def _use(server: Server, values: Any) -> None:
    """Take settings over, or say what is wrong with them and keep the old ones."""
    try:
        server.settings = server.settings.updated(values)
    except SettingsError as error:
        server.warn(str(error))
