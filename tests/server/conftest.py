"""What holds for all tests of the server and the engine."""

from __future__ import annotations

import os

# Set before any library is imported: none may call home, whatever order the tests run in.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
