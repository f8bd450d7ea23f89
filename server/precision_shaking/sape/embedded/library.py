"""The llama.cpp binding: imported late, checked, and kept off the process's standard streams.

Only the raw bindings are used. The package's own `Llama` class points file descriptors 1 and 2 of the whole
process at /dev/null while it loads a model, so what another thread writes meanwhile, an LSP message for
instance, is lost.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
from typing import Any

from precision_shaking.sape.embedded.errors import EmbeddedModelUnavailableError

_LOGGER = logging.getLogger(__name__)
# ggml's levels, one step quieter: its informational lines are of interest to nobody but a developer.
_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.ERROR, 4: logging.DEBUG}
_NEEDED = (
    "llama_memory_seq_rm",
    "llama_model_is_hybrid",
    "llama_set_abort_callback",
    "llama_vocab_is_eog",
    "llama_sampler_apply",
)

HOW_TO_INSTALL = (
    "run `pip install 'precision-shaking[embedded]'` (building it needs a C/C++ compiler, such as Debian's "
    "build-essential) or name another teacher with --teacher"
)


@functools.cache
def load_library() -> Any:
    """Import llama.cpp's binding once and take over its log.

    Returns:
        The module `llama_cpp`.

    Raises:
        EmbeddedModelUnavailableError: It is missing, broken, or another release than the one we know.
    """
    try:
        library: Any = importlib.import_module("llama_cpp")
    except (ImportError, OSError, RuntimeError) as error:  # a missing shared library is not an ImportError
        message = f"The embedded model needs llama-cpp-python, which cannot be imported: {HOW_TO_INSTALL}."
        raise EmbeddedModelUnavailableError(message) from error
    missing = [name for name in _NEEDED if not hasattr(library, name)]
    if missing:
        message = f"This llama-cpp-python lacks {missing[0]}, a release we do not know: {HOW_TO_INSTALL}."
        raise EmbeddedModelUnavailableError(message)
    _LOGGER.addHandler(logging.NullHandler())  # else Python's handler of last resort writes to stderr
    callback = _log_callback(library)
    library.precision_shaking_log = callback  # C keeps only a pointer: it must live as long as the module
    library.llama_log_set(callback, ctypes.c_void_p(0))
    library.llama_backend_init()
    return library


def _log_callback(library: Any) -> Any:
    """Build the C callback that hands llama.cpp's lines to `logging`."""
    level = logging.DEBUG

    def forward(ggml_level: int, text: bytes, _data: Any) -> None:
        nonlocal level
        level = _LEVELS.get(ggml_level, level)  # 5 continues the line before
        if _LOGGER.isEnabledFor(level):
            _LOGGER.log(level, "%s", text.decode("utf-8", "replace").rstrip())

    return library.llama_log_callback(forward)
