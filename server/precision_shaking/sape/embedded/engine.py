"""The embedded model as DSPy sees it: a synchronous and an asynchronous lm15 engine.

An engine is a light handle. The model is found by the request's name and shared (`worker_for`), so that
`lm.copy(model="embedded//path/of/student.gguf")` switches weights. Both engines stream; a complete answer is
its stream put together.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from attrs import asdict

from precision_shaking.sape.embedded.library import load_library
from precision_shaking.sape.embedded.models import DEFAULT_MODEL
from precision_shaking.sape.embedded.runtime import ModelOptions, Runtime
from precision_shaking.sape.embedded.translation import answer, translated
from precision_shaking.sape.embedded.worker import Job, worker_for

if TYPE_CHECKING:
    import dspy
    from dspy import lm15

OnText = Callable[[str], None]


def embedded_lm(
    name: str = DEFAULT_MODEL,
    *,
    max_tokens: int,
    temperature: float = 0.0,
    top_logprobs: int | None = 20,
    on_text: OnText | None = None,
    repeat_penalty: float = 1.0,
    options: ModelOptions | None = None,
) -> dspy.LM:
    """Make a DSPy language model that runs in this process.

    Nothing is cached or retried: the same prompt must be able to give another answer. A grammar for one call,
    and a text that its answer will mostly copy, go into its config:
    `predict(config={"metadata": {"gbnf": …, "draft": …}}, …)`.

    Args:
        name: `embedded/smollm2` or `embedded/` and the path of a .gguf file.
        max_tokens: Longest answer; a longer one is cut with finish_reason "length".
        temperature: 0 is greedy and deterministic.
        top_logprobs: Log-probabilities to capture at each token; None for none.
        on_text: Called with each piece of text as it is written, in the caller's thread or event loop.
        repeat_penalty: Above 1, what was just written becomes less likely; 1 is off.
        options: Context size, batch size, threads.

    Raises:
        EmbeddedModelUnavailableError: llama.cpp or the model is missing.
    """
    load_library()
    options = options or ModelOptions()
    worker_for(name, options)
    import dspy

    scores = {} if top_logprobs is None else {"logprobs": True, "top_logprobs": top_logprobs}
    return dspy.LM(
        name,
        engine=EmbeddedEngine(options, repeat_penalty, on_text),
        async_engine=AsyncEmbeddedEngine(options, repeat_penalty, on_text),
        cache=False,
        num_retries=0,
        max_tokens=max_tokens,
        temperature=temperature,
        **scores,
    )


class _Handle:
    """What both engines know, and how DSPy copies and saves them."""

    supported_params: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "max_tokens", "top_p", "top_k", "seed", "logprobs", "top_logprobs", "gbnf", "draft"}
    )

    def __init__(
        self, options: ModelOptions, repeat_penalty: float = 1.0, on_text: OnText | None = None
    ) -> None:
        self.options = options
        self._repeat_penalty = repeat_penalty
        self._on_text = on_text

    def _submit(self, request: lm15.Request, put: Callable[[Any], None]) -> Job[None]:
        """Start answering; `put` receives the events and, after the last of them, None."""

        def work(runtime: Runtime) -> None:
            answer(runtime, request, self._repeat_penalty, put)

        job = worker_for(request.model, self.options).submit(work)
        job.future.add_done_callback(lambda _: put(None))
        return job

    def _tell(self, event: lm15.StreamEvent) -> None:
        if self._on_text is not None and event.type == "delta" and event.delta.text:
            self._on_text(event.delta.text)

    def dump_state(self) -> dict[str, Any]:
        """Return what `load_state` needs: DSPy saves programs with it. A listener is not saved."""
        return {"options": asdict(self.options), "repeat_penalty": self._repeat_penalty}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """Make the engine of a saved program."""
        return cls(ModelOptions(**state["options"]), state["repeat_penalty"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # immutable, and optimizers copy programs a lot


class EmbeddedEngine(_Handle):
    """The synchronous engine. Whatever interrupts the caller, Ctrl-C included, stops the model."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer a request. Raises lm15's errors."""
        from dspy import lm15

        return lm15.materialize_response(self.stream(request), request)

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamEvent]:
        """Answer a request event by event; closing the iterator stops the model."""
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            job = self._submit(request, events.put)
            try:
                while (event := events.get()) is not None:
                    self._tell(event)
                    yield event
                job.future.result()
            finally:
                job.cancel()
        except Exception as error:
            raise translated(error) from error

    def close(self) -> None:
        """Do nothing: the model is shared and outlives its handles."""


class AsyncEmbeddedEngine(_Handle):
    """The asynchronous engine. Cancelling the awaiting task stops the model."""

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer a request. Raises lm15's errors."""
        from dspy import lm15

        return await lm15.amaterialize_response(self.stream(request), request)

    async def stream(self, request: lm15.Request) -> AsyncIterator[lm15.StreamEvent]:
        """Answer a request event by event; closing the iterator stops the model."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Any] = asyncio.Queue()

        def put(event: Any) -> None:
            if not loop.is_closed():  # nobody is left to hear the rest
                loop.call_soon_threadsafe(events.put_nowait, event)

        try:
            job = self._submit(request, put)
            try:
                while (event := await events.get()) is not None:
                    self._tell(event)
                    yield event
                job.future.result()
            finally:
                job.cancel()
        except Exception as error:
            raise translated(error) from error

    async def aclose(self) -> None:
        """Do nothing: the model is shared and outlives its handles."""
