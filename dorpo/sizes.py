"""How much memory something takes, in words."""

from __future__ import annotations

_MEGABYTE, _GIGABYTE = 1e6, 1e9


def in_words(size: int) -> str:
    """Bytes as a person says them: "310 MB", "7.4 GB"."""
    if size >= _GIGABYTE:
        return f"{size / _GIGABYTE:.1f} GB"
    return f"{max(1, round(size / _MEGABYTE))} MB"
