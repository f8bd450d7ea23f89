"""Entry point of `python -m dorpo`."""

import sys

from dorpo.cli import main

if __name__ == "__main__":
    sys.exit(main())
