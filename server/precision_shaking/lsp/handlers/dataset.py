"""What the dataset holds."""

from __future__ import annotations

import json

import attrs

from precision_shaking.lsp import protocol
from precision_shaking.lsp.dataset import run_dorpo
from precision_shaking.lsp.rpc import request
from precision_shaking.lsp.server import Server


def register(server: Server) -> None:
    """Register this room's handlers."""

    @request(server, protocol.DATASET_STATS, protocol.Nothing)
    async def stats(_: protocol.Nothing) -> protocol.DatasetStatsResult:
        names = {field.name for field in attrs.fields(protocol.DatasetStatsResult)}
        found = json.loads(await run_dorpo(server, "stats", "--json"))
        return protocol.DatasetStatsResult(**{name: found[name] for name in names})
