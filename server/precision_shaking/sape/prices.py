"""What a call of a teacher costs, where the price is known. Nothing is fetched.

Prices are those of the table that comes inside litellm, read without importing it, which takes seconds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from precision_shaking.sape.wire import TeacherAccess

if TYPE_CHECKING:
    from precision_shaking.sape.exchange import Exchange

_TABLE = "model_prices_and_context_window_backup.json"
_EMBEDDED = "embedded/"
# They report the tokens of the reasoning beside those of the output; the others count them in.
_REASONING_APART = frozenset({"gemini", "vertex_ai", "xai"})
# They report the tokens read from a cache beside those of the input.
_CACHED_APART = frozenset({"anthropic"})
# From about here on, some models cost more for each token.
_LONG_TOKENS = 128_000


@frozen
class Price:
    """US dollars for a token of input, of output, and of input that the provider has in a cache.

    Attributes:
        rises: Whether a long request costs more for each token.
    """

    input: float
    output: float
    cached: float
    rises: bool = False


def cost_usd(access: TeacherAccess, exchange: Exchange) -> float | None:
    """US dollars that a call cost; None where that cannot be known.

    A server of the user's own has no price, whatever its models are called.
    """
    if access.name.startswith(_EMBEDDED):
        return 0.0
    if access.base_url is not None or exchange.input_tokens is None or exchange.output_tokens is None:
        return None
    provider, _, _ = access.name.partition("/")
    price = find_price(access.name, price_table())
    if price is None or (price.rises and exchange.input_tokens > _LONG_TOKENS):
        return None
    cached = exchange.cached_tokens or 0
    fresh = exchange.input_tokens - (0 if provider in _CACHED_APART else cached)
    written = exchange.output_tokens + (exchange.reasoning_tokens or 0) * (provider in _REASONING_APART)
    return fresh * price.input + cached * price.cached + written * price.output


def find_price(teacher: str, table: Mapping[str, Any]) -> Price | None:
    """The price of `provider/model`; the table names the models of some providers without the provider."""
    provider, _, model = teacher.partition("/")
    for name in (teacher, model):
        entry = table.get(name)
        if isinstance(entry, dict) and entry.get("litellm_provider") == provider:
            return _price(entry)
    return None


def _price(entry: Mapping[str, Any]) -> Price | None:
    into, out = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if not isinstance(into, int | float) or not isinstance(out, int | float):
        return None
    cached = entry.get("cache_read_input_token_cost")
    rises = any("_above_" in key for key in entry)
    return Price(into, out, cached if isinstance(cached, int | float) else into, rises)


@functools.cache
def price_table() -> Mapping[str, Any]:
    """The table by model name; empty where litellm is not installed or has none."""
    found = find_spec("litellm")
    folders = (found.submodule_search_locations or []) if found else []
    for folder in folders:
        try:
            table = json.loads((Path(folder) / _TABLE).read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(table, dict):
            return table
    return {}
