"""What the objective can be told in words; apart, so that a command line needs no torch to offer it."""

from __future__ import annotations

SOFT_LABELS = ("none", "smooth", "teacher")
COMPARED_TOKENS = ("all", "diff")
GROUP_WEIGHTS = ("row", "prompt")
CHUNK_KDS = ("binary", "alm", "off")
# An error is a fact, further edits only say that the other one was not all of it.
LABEL_NOISE = {"error": 0.01, "redo": 0.05, "further_edit": 0.2, "amended": 0.05, "other": 0.05}
