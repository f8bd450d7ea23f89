"""Where the user's data lives. Never in a workspace, where it would be committed, synced or shared."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The user's data folder: `$PRECISION_SHAKING_HOME`, or the platform's place for application data."""
    chosen = os.environ.get("PRECISION_SHAKING_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_data_dir("precision-shaking", appauthor=False))


def default_path() -> Path:
    """The dataset every session writes to unless it is told otherwise."""
    return home() / "dataset.db"
