"""What has to be set before a language model library is imported: no calls home, no output, no caches."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

_QUIET = {
    # Both libraries would fetch a price list from the network, which takes 15 seconds where it hangs.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOG": "ERROR",
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def quieten(home: Path) -> None:
    """Set the process up; must come before dspy is imported, and in the engine's process only."""
    os.environ.update(_QUIET)
    # The cache is never used, but the library makes its folder.
    os.environ["DSPY_CACHEDIR"] = str(home / "dspy")
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
