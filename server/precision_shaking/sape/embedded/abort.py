"""A switch that stops llama.cpp in the middle of a decode."""

from __future__ import annotations

import ctypes
import os
from typing import Any


class AbortFlag:
    """One job's switch; `set` may be called from any thread and takes effect within a graph node.

    ggml asks its abort callback after every node of the graph, so a Python callback would fight for the GIL
    hundreds of times a token. C's `strlen` has the same shape, pointer in and integer out: over a two-byte
    buffer it answers 0 until the first byte is set and 1 from then on.
    """

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(2)

    def set(self) -> None:
        """Stop the job."""
        self._buffer[0] = b"\x01"

    def is_set(self) -> bool:
        """Whether the job was told to stop."""
        return self._buffer[0] != b"\x00"

    def install(self, library: Any, context: Any) -> None:
        """Make the context obey this flag; the flag must outlive the context's next decode."""
        runtime = ctypes.cdll.msvcrt if os.name == "nt" else ctypes.CDLL(None)
        callback = ctypes.cast(runtime.strlen, library.ggml_abort_callback)
        library.llama_set_abort_callback(context, callback, ctypes.cast(self._buffer, ctypes.c_void_p))
