"""The server's standard streams, and its process from start to end."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO


def claim_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Keep the process' input and output for the protocol; everyone else gets nothing to read and stderr.

    A client hangs up at the first byte that belongs to no message, and libraries do print. After this call
    `print`, writes to descriptor 1 and child processes end up on stderr.

    Returns:
        The streams to read messages from and to write them to.
    """
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return reader, writer


def main(arguments: Sequence[str]) -> int:
    """`precision-shaking serve`: serve one editor on stdin and stdout until it says exit or hangs up.

    Returns:
        The process' exit status: 0 after a proper shutdown, 1 when the editor just went away, 2 when an
        argument is not known. `--stdio`, which many clients add, is what happens anyway.
    """
    if {"-h", "--help"} & set(arguments):
        sys.stdout.write(
            "usage: precision-shaking serve\n\nServe an editor's language client on stdin and stdout.\n"
        )
        return 0
    if unknown := [argument for argument in arguments if argument != "--stdio"]:
        sys.stderr.write(f"precision-shaking serve does not know {unknown[0]}: it takes no arguments.\n")
        return 2
    reader, writer = claim_stdio()
    # What is loaded now stays: looking for garbage in it would take a tenth of the start.
    gc.disable()
    # Only now: importing is the first thing that could print.
    from precision_shaking.lsp.log import log_to_stderr
    from precision_shaking.lsp.server import build_server

    log_to_stderr()
    server = build_server()
    gc.freeze()
    gc.enable()
    try:
        server.start_io(reader, writer)
    finally:
        # An editor that hangs up has not asked for a shutdown: the pages hold what its user works on.
        server.feedback_files.clear()
    return 0 if server.was_shut_down else 1
