"""One thread per loaded model, and jobs for it that can be cancelled from anywhere."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Generic, TypeVar

from precision_shaking.sape.embedded.abort import AbortFlag
from precision_shaking.sape.embedded.errors import AbortedError
from precision_shaking.sape.embedded.models import locate
from precision_shaking.sape.embedded.runtime import ModelOptions, Runtime

Result = TypeVar("Result")

_SHARING = threading.Lock()


class Job(Generic[Result]):
    """Work for a model's thread."""

    def __init__(self, abort: AbortFlag, future: Future[Result]) -> None:
        self._abort = abort
        self.future = future

    def cancel(self) -> None:
        """Stop the job within a graph node, or drop it if it has not begun; harmless when it is over."""
        self._abort.set()
        self.future.cancel()


class ModelWorker:
    """Owns a model, loads it at the first job, runs one job at a time: a llama.cpp context has one thread."""

    def __init__(self, path: Path, options: ModelOptions) -> None:
        self._path = path
        self._options = options
        self._runtime: Runtime | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedded-model")

    def submit(self, work: Callable[[Runtime], Result]) -> Job[Result]:
        """Queue work behind what was queued before.

        Args:
            work: Called in the model's thread. Its future raises what it raises, `AbortedError` once it
                was cancelled, or `EmbeddedModelUnavailableError` where the model cannot be loaded.
        """
        abort = AbortFlag()

        def run() -> Result:
            if self._runtime is None:
                self._runtime = Runtime(self._path, self._options)
            if abort.is_set():
                raise AbortedError
            self._runtime.obey(abort)
            return work(self._runtime)

        return Job(abort, self._thread.submit(run))


def worker_for(name: str, options: ModelOptions) -> ModelWorker:
    """Return the worker of a model; everybody with equal options shares one.

    Raises:
        EmbeddedModelUnavailableError: There is no such model here.
    """
    path = locate(name)
    with _SHARING:  # the cache alone would let two first callers load the model twice
        return _worker(path, options)


@functools.cache
def _worker(path: Path, options: ModelOptions) -> ModelWorker:
    return ModelWorker(path, options)
