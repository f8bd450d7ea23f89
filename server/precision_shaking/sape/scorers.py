"""Which models can say how probable a given text is, as users name them."""

from __future__ import annotations

from pathlib import Path

EMBEDDED = "embedded/"
_FILE = ".gguf"


def parse_scorer(text: str) -> str:
    """Read `embedded/NAME`, or the path of a GGUF file; what the dataset calls the model.

    A server is none: over an API, chat models tell the log-probabilities of what they write, not of a text
    that they are given. Whether the model is there shows when it is first needed.

    Raises:
        ValueError: It is neither; the message says what it must be.
    """
    name = text.strip().removeprefix(EMBEDDED)
    if name.endswith(_FILE):
        # Whoever uses the dataset later may do so from another folder.
        return f"{EMBEDDED}{Path(name).expanduser().absolute()}"
    if not text.strip().startswith(EMBEDDED) or not name:
        raise ValueError(
            "an embedded model or a GGUF file, for example embedded/smollm2 or ~/models/larger.gguf: servers "
            "do not score a text that they are given"
        )
    return f"{EMBEDDED}{name}"
