"""One loaded model and its context: prefill, decode, score. Belongs to one thread at a time."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from attrs import frozen

from precision_shaking.sape.embedded.abort import AbortFlag
from precision_shaking.sape.embedded.drafting import Drafter
from precision_shaking.sape.embedded.errors import (
    AbortedError,
    EmbeddedModelUnavailableError,
    PromptTooLongError,
)
from precision_shaking.sape.embedded.library import load_library
from precision_shaking.sape.embedded.probabilities import Floats, TokenScores, score_rows
from precision_shaking.sape.embedded.sampling import Sampler, Settings
from precision_shaking.sape.embedded.tokenizer import Tokenizer

_SCORED_AT_ONCE = 64  # rows of logits per decode while scoring: the fastest of 16 … 256


@frozen
class ModelOptions:
    """How a model is loaded.

    Attributes:
        context: Tokens of prompt and answer together; never more than the model was trained on.
        batch: Tokens per decode of a prompt: a cancellation may wait for one, a warm start repeats one.
        threads: CPU threads. None takes half of the processors to decode, which memory bounds, and all but
            one for prompts: threads that share a processor with somebody else wait for each other, and a
            busy machine then decodes ten times slower, not half as fast.
    """

    context: int = 8192
    batch: int = 64
    threads: int | None = None


@frozen
class Decoded:
    """One token of an answer; `scores` is None unless they were asked for."""

    token: int
    scores: TokenScores | None


@frozen
class Ending:
    """How an answer ended.

    Attributes:
        reason: "stop" where the model was done, "length" where it was cut.
        tokens: Length of the answer.
        prompt_tokens: Length of the prompt.
        reused: How many of the prompt's tokens were still in the context.
        passes: Decodes that the answer took: as many as tokens, or fewer where a draft was right.
    """

    reason: Literal["stop", "length"]
    tokens: int
    prompt_tokens: int
    reused: int
    passes: int


class Runtime:
    """A model in memory.

    The keys and values of what was decoded last stay in the context, so a prompt that begins like the one
    before is only decoded from the batch where it differs. Batches are never cut otherwise: kernels round by
    the size of a batch, and a greedy answer must not depend on what was asked before.
    """

    def __init__(self, path: Path, options: ModelOptions) -> None:
        library = load_library()
        model = library.llama_model_load_from_file(os.fsencode(path), library.llama_model_default_params())
        if not model:
            raise EmbeddedModelUnavailableError(f"llama.cpp cannot read the model {path}: name another one.")
        context = library.llama_init_from_model(model, _context_params(library, model, options))
        if not context:
            library.llama_model_free(model)
            raise EmbeddedModelUnavailableError(
                f"The memory does not suffice for {path}: name a smaller one."
            )
        batch = library.llama_batch_init(options.batch, 0, 1)
        self.close = weakref.finalize(self, _free, library, model, context, batch)
        self.tokenizer = Tokenizer(library, model)
        self.context_size: int = library.llama_n_ctx(context)
        self._library, self._context, self._batch = library, context, batch
        self._batch_size = options.batch
        self._memory = library.llama_get_memory(context)
        # A recurrent state cannot be wound back by the tokens of a wrong guess.
        self._forgets = not (library.llama_model_is_recurrent(model) or library.llama_model_is_hybrid(model))
        self._held: list[int] = []  # the tokens whose keys and values are in the context
        self._read = 0  # how many of them were decoded as a prompt, in batches
        self._abort = AbortFlag()

    def obey(self, abort: AbortFlag) -> None:
        """Let this flag, and no longer the one before, stop what runs."""
        abort.install(self._library, self._context)
        self._abort = abort

    def generate(
        self,
        prompt: Sequence[int],
        settings: Settings,
        on_token: Callable[[Decoded], None],
        draft: Sequence[int] = (),
    ) -> Ending:
        """Answer a prompt, token by token.

        With a draft, and a temperature of 0, several tokens are decoded at once: those that the draft lets
        expect. Each is kept only if it is what the model chooses there, so the answer is the one without a
        draft but for near-ties, where the kernels for one token and for many may round to either side.

        Args:
            prompt: Token ids.
            settings: Length, sampling, grammar, log-probabilities.
            on_token: Called with every token of the answer as it is chosen; not with the one that ends it.
            draft: Token ids of a text that the answer is expected to copy for the most part.

        Raises:
            PromptTooLongError: No room for an answer.
            InvalidGrammarError: See `Sampler`.
            AbortedError: The flag was set.
        """
        room = self.context_size - len(prompt)
        if room < 1:
            raise PromptTooLongError(
                f"The prompt has {len(prompt)} tokens and the model reads {self.context_size}: shorten it."
            )
        drafter = Drafter(draft if settings.temperature <= 0 and self._forgets else ())
        with Sampler(self._library, self.tokenizer.vocabulary, settings) as sampler:
            reused = self._read_prompt(prompt[:-1])
            newest, written, passes, limit = prompt[-1], 0, 0, min(settings.max_tokens, room)
            while written < limit:
                guess = drafter.propose(min(limit - written, self._batch_size) - 1)
                passes += 1
                for token, logits in self._chosen_after(newest, guess, sampler):
                    if self.tokenizer.ends(token):
                        return Ending("stop", written, len(prompt), reused, passes)
                    on_token(Decoded(token, _score(logits, token, settings.top_logprobs)))
                    drafter.confirm(token)
                    newest, written = token, written + 1
        return Ending("length", limit, len(prompt), reused, passes)

    def _chosen_after(
        self, newest: int, guess: Sequence[int], sampler: Sampler
    ) -> Iterator[tuple[int, Floats]]:
        """Decode the newest token with a guess at those after it, and choose up to the first one it missed.

        Yields:
            Each chosen token, and the logits it was chosen from, a view that the next decode overwrites.
        """
        start, expected = len(self._held), [*guess, None]
        self._decode([newest, *guess], outputs="all")
        for row, logits in enumerate(self._logits(len(expected))):
            token = sampler.choose(logits)
            yield token, logits
            if token != expected[row]:
                self._truncate(start + row + 1)
                return

    def score(self, prompt: Sequence[int], answer: Sequence[int], k: int) -> list[TokenScores]:
        """Score a known answer in one teacher-forced pass.

        The kernels for one token and for many round differently: log-probabilities differ from those captured
        while decoding by 0.01 (code) to 0.03 (prose) on average, at any number of rows.

        Args:
            prompt: Token ids, at least one.
            answer: Token ids.
            k: Most probable tokens to keep at each position.

        Raises:
            PromptTooLongError: Both do not fit the context.
            AbortedError: The flag was set.
        """
        length = len(prompt) + len(answer)
        if length > self.context_size:
            raise PromptTooLongError(
                f"Prompt and answer have {length} tokens and the model reads {self.context_size}: shorten it."
            )
        # The logits of a token are the forecast of the next one: the answer's begin at the prompt's last.
        self._read_prompt(prompt[:-1])
        given = [*prompt[-1:], *answer[:-1]]
        step = min(_SCORED_AT_ONCE, self._batch_size)
        scores: list[TokenScores] = []
        for start in range(0, len(answer), step):
            part = given[start : start + step]
            self._decode(part, outputs="all")
            scores += score_rows(self._logits(len(part)), np.array(answer[start : start + step], np.int32), k)
        return scores

    def _read_prompt(self, prompt: Sequence[int]) -> int:
        """Make the context hold exactly this prompt; return how many of its tokens it held already."""
        common = _common(self._held[: self._read], prompt)
        if not common == len(prompt) == self._read:
            common -= common % self._batch_size
        self._truncate(common)
        reused = len(self._held)
        for start in range(reused, len(prompt), self._batch_size):
            self._decode(prompt[start : start + self._batch_size], outputs="none")
            self._read = len(self._held)
        return reused

    def _truncate(self, length: int) -> None:
        if not self._library.llama_memory_seq_rm(self._memory, 0, length, -1):
            self._library.llama_memory_clear(self._memory, True)  # a recurrent state cannot be wound back
            length = 0
        del self._held[length:]
        self._read = min(self._read, length)

    def _decode(self, tokens: Sequence[int], outputs: Literal["none", "all"]) -> None:
        """Append at most one batch of tokens to the context."""
        if self._abort.is_set():
            raise AbortedError
        batch, start = self._batch, len(self._held)
        batch.n_tokens = len(tokens)
        for row, token in enumerate(tokens):
            batch.token[row], batch.pos[row] = token, start + row
            batch.n_seq_id[row], batch.seq_id[row][0] = 1, 0
            batch.logits[row] = outputs == "all"
        result = self._library.llama_decode(self._context, batch)
        if result != 0:
            self._truncate(start)  # part of the batch may have been processed
            if self._abort.is_set():
                raise AbortedError
            raise RuntimeError(f"llama.cpp could not decode {len(tokens)} tokens at {start}: {result}")
        self._held += tokens

    def _logits(self, rows: int) -> Floats:
        """Return the newest logits, shape (rows, vocabulary): a view that the next decode overwrites."""
        data = self._library.llama_get_logits(self._context)
        logits: Floats = np.ctypeslib.as_array(data, shape=(rows, self.tokenizer.size))
        return logits


def _score(logits: Floats, token: int, k: int | None) -> TokenScores | None:
    return None if k is None else score_rows(logits[None], np.array([token], np.int32), k)[0]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    for position, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return position
    return min(len(one), len(other))


def _context_params(library: Any, model: Any, options: ModelOptions) -> Any:
    params = library.llama_context_default_params()
    params.n_ctx = min(options.context, library.llama_model_n_ctx_train(model))
    params.n_batch = params.n_ubatch = options.batch
    processors = os.cpu_count() or 2
    params.n_threads = options.threads or max(1, processors // 2)
    params.n_threads_batch = options.threads or max(1, processors - 1)
    params.no_perf = True
    if not library.llama_supports_gpu_offload():
        # On processors it is slower at any length: twice for a guess of 32 tokens, by a fifth for one token.
        params.flash_attn_type = library.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params


def _free(library: Any, model: Any, context: Any, batch: Any) -> None:
    library.llama_batch_free(batch)
    library.llama_free(context)
    library.llama_model_free(model)
