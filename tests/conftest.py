"""What the suites share: a missing tool is a skip with its reason on a desk, and a failure where CI=true."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from precision_shaking.sape.embedded.errors import EmbeddedModelUnavailableError
from precision_shaking.sape.embedded.library import load_library
from precision_shaking.sape.embedded.models import DEFAULT_MODEL, locate
from precision_shaking.sape.sandbox.interpreter import find_interpreter
from precision_shaking.sape.sandbox.probe import probe

# Read when torch is loaded: threads that wait in a loop starve the other suites on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A shell that runs the tests in its background has Ctrl+C ignored, and whatever is started inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _require_tool(available: bool, reason: str) -> None:
    if available:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"nothing may be skipped here: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require_tool() -> Callable[[bool, str], None]:
    return _require_tool


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("sandbox"):
        found = probe(find_interpreter(None))
        _require_tool(found.works, found.why)
    if item.get_closest_marker("embedded"):
        why = _embedded_model_missing()
        _require_tool(not why, why)


def _embedded_model_missing() -> str:
    try:
        load_library()
        locate(DEFAULT_MODEL)
    except EmbeddedModelUnavailableError as error:
        return str(error)
    return ""
