"""Prices: from the table inside litellm, without importing it, and only where they are known."""

from __future__ import annotations

import subprocess
import sys

import pytest

from precision_shaking.sape.exchange import Exchange
from precision_shaking.sape.prices import Price, cost_usd, find_price, price_table
from precision_shaking.sape.wire import TeacherAccess

TABLE = {
    "big": {"litellm_provider": "openai", "input_cost_per_token": 2e-6, "output_cost_per_token": 1e-5}
    | {"cache_read_input_token_cost": 1e-6, "input_cost_per_token_above_128k_tokens": 4e-6},
    "groq/big": {"litellm_provider": "groq", "input_cost_per_token": 1, "output_cost_per_token": 2},
    "picture": {"litellm_provider": "openai", "input_cost_per_pixel": 1},
    "odd": ["no object"],
}


@pytest.mark.parametrize(
    ("teacher", "price"),
    [
        ("openai/big", Price(2e-6, 1e-5, 1e-6, rises=True)),
        ("groq/big", Price(1, 2, 1)),
        ("anthropic/big", None),
        ("openai/picture", None),
        ("openai/odd", None),
        ("openai/unknown", None),
        ("embedded/smollm2", None),
    ],
)
def test_a_price_is_found_by_provider_and_model(teacher, price):
    assert find_price(teacher, TABLE) == price


def used(**tokens):
    return Exchange([], **{"input_tokens": 1000, "output_tokens": 100, **tokens})


def known():
    """A model of the installed table, and its price."""
    price = find_price("openai/gpt-4o", price_table())
    assert price is not None
    return TeacherAccess("openai/gpt-4o"), price


def test_a_call_costs_its_tokens():
    access, price = known()
    assert cost_usd(access, used()) == pytest.approx(1000 * price.input + 100 * price.output)
    cached = cost_usd(access, used(cached_tokens=600, reasoning_tokens=50))
    assert cached == pytest.approx(400 * price.input + 600 * price.cached + 100 * price.output)


def test_what_cannot_be_known_is_not_guessed():
    access, _ = known()
    assert cost_usd(access, Exchange([])) is None
    assert cost_usd(access, used(output_tokens=None)) is None
    assert cost_usd(TeacherAccess(access.name, "http://127.0.0.1:8000/v1"), used()) is None
    assert cost_usd(TeacherAccess("openai/of-tomorrow"), used()) is None


def test_the_embedded_model_costs_nothing():
    assert cost_usd(TeacherAccess("embedded/smollm2"), used()) == 0.0


def test_litellm_is_not_imported():
    program = (
        "import sys\n"
        "from precision_shaking.sape.prices import price_table\n"
        "assert len(price_table()) > 100\n"
        "assert 'litellm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
