"""`python -m precision_shaking`: the same as the command `precision-shaking`."""

from __future__ import annotations

import sys

from precision_shaking.cli import main

if __name__ == "__main__":
    sys.exit(main())
