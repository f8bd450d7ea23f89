"""The agents' optimised prompts lie beside the dataset and quote from it: what is forgotten goes there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def forget_programs(home: Path, sessions: Collection[str]) -> list[Path]:
    """Delete the programs that were made of one of these sessions, and say which.

    Args:
        home: The user's data folder.
        sessions: Uids. A program names its steps as `uid/step`; it is looked for as text, so that a damaged
            file goes too.

    Raises:
        OSError: One cannot be read or deleted.
    """
    gone = []
    for path in sorted((home / "programs").glob("*/*/*.json*")):
        text = path.read_text("utf-8", "replace")
        if any(f'"{uid}/' in text for uid in sessions):
            path.unlink()
            gone.append(path)
    return gone
