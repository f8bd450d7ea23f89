"""What messages tell to install can be installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def test_every_extra_that_is_named_exists():
    sources = [*(ROOT / "dorpo").rglob("*.py"), *(ROOT / "server" / "precision_shaking").rglob("*.py")]
    named = {
        extra
        for source in sources
        for found in re.findall(r"precision-shaking\[([\w,]+)\]", source.read_text("utf-8"))
        for extra in found.split(",")
    }
    assert {"train", "qlora"} <= named <= set(EXTRAS)


def test_development_needs_no_bitsandbytes():
    """It is large, and nothing here can run it without a GPU."""
    assert any("bitsandbytes" in wanted for wanted in EXTRAS["qlora"])
    assert "bitsandbytes" not in (ROOT / "requirements.lock").read_text("utf-8")
