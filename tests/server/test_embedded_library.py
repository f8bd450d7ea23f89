"""The binding: silent on the standard streams while others write, and helpful when it is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from precision_shaking.sape.embedded.errors import EmbeddedModelUnavailableError
from precision_shaking.sape.embedded.library import load_library
from precision_shaking.sape.embedded.models import locate

# Loads and asks the model while another thread writes to stdout: every line must arrive, and nothing else.
TALKING = """
import os, threading
from precision_shaking.sape.embedded.models import DEFAULT_MODEL
from precision_shaking.sape.embedded.runtime import ModelOptions
from precision_shaking.sape.embedded.sampling import Settings
from precision_shaking.sape.embedded.worker import worker_for

asked = threading.Event()
def work(runtime):
    runtime.generate(runtime.tokenizer.encode("Hello"), Settings(max_tokens=5), lambda _: None)
    asked.set()

job = worker_for(DEFAULT_MODEL, ModelOptions(context=512)).submit(work)
lines = 0
while not asked.is_set() and not job.future.done():
    os.write(1, b"line\\n")
    lines += 1
job.future.result()
os.write(1, b"%d" % lines)
"""


@pytest.mark.embedded
def test_nothing_is_written_and_nothing_is_lost_while_a_model_loads() -> None:
    done = subprocess.run([sys.executable, "-c", TALKING], capture_output=True, timeout=60, check=True)
    *lines, count = done.stdout.decode().splitlines()
    assert set(lines) == {"line"}
    assert len(lines) == int(count)
    assert done.stderr == b""


@pytest.mark.embedded
def test_importing_the_package_loads_nothing_heavy() -> None:
    check = (
        "import sys, precision_shaking.sape.embedded; "
        "sys.stdout.write(' '.join({'dspy', 'litellm', 'llama_cpp', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.fixture
def forgetful() -> object:
    load_library.cache_clear()
    yield
    load_library.cache_clear()


@pytest.mark.usefixtures("forgetful")
def test_a_missing_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(
        EmbeddedModelUnavailableError, match=r"pip install 'precision-shaking\[embedded\]'.*--teacher"
    ):
        load_library()


def test_a_missing_model_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EmbeddedModelUnavailableError, match="compiler"):
        locate("embedded/smollm2")
