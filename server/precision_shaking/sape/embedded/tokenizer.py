"""Text to tokens and back, and a chat to the text the model was trained on."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

ChatMessage = Mapping[str, str]


class Tokenizer:
    """A loaded model's vocabulary and chat template. Reading it is thread-safe."""

    def __init__(self, library: Any, model: Any) -> None:
        self._library = library
        self._model = model
        self.vocabulary = library.llama_model_get_vocab(model)
        self.size: int = library.llama_vocab_n_tokens(self.vocabulary)
        self._pieces: dict[int, bytes] = {}
        self._template = self._load_template()

    def encode(self, text: str, *, special: bool = False, begin: bool = False) -> list[int]:
        """Tokenize.

        Args:
            text: Any text.
            special: Read control tokens written out in the text (`<|im_end|>`) as such.
            begin: Add the begin-of-sequence token if the model wants one.
        """
        data = text.encode()
        room = len(data) + 2  # no token is empty, so bytes bound tokens; two for begin and end
        buffer = (self._library.llama_token * room)()
        count = self._library.llama_tokenize(self.vocabulary, data, len(data), buffer, room, begin, special)
        if count < 0:
            raise RuntimeError(f"tokenizing {len(data)} bytes needs room for {-count} tokens")
        return list(buffer[:count])

    def piece(self, token: int) -> bytes:
        """Return the token's bytes; alone they need not be valid UTF-8."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        size = 64
        buffer = ctypes.create_string_buffer(size)
        count = self._library.llama_token_to_piece(self.vocabulary, token, buffer, size, 0, True)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = self._library.llama_token_to_piece(self.vocabulary, token, buffer, -count, 0, True)
        self._pieces[token] = buffer.raw[:count]
        return self._pieces[token]

    def ends(self, token: int) -> bool:
        """Whether the token says that the answer is over."""
        return bool(self._library.llama_vocab_is_eog(self.vocabulary, token))

    def encode_chat(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Tokenize a chat up to where the assistant's answer begins.

        Args:
            messages: `{"role": …, "content": …}` in order.
        """
        if self._template is None:  # a base model: there is no right form, so a plain one
            text = "\n\n".join(message["content"] for message in messages)
            return self.encode(f"{text}\n\nAnswer:\n\n", begin=True)
        rendered = self._template(messages=[dict(message) for message in messages]).prompt
        return self.encode(rendered, special=True)

    def _load_template(self) -> Any:
        """Compile the model's own template; it is run sandboxed, for a model file is foreign input."""
        template = self._library.llama_model_chat_template(self._model, None)
        if not template:
            return None
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        return Jinja2ChatFormatter(
            template=template.decode("utf-8", "replace"),
            bos_token=self._written(self._library.llama_vocab_bos(self.vocabulary)),
            eos_token=self._written(self._library.llama_vocab_eos(self.vocabulary)),
        )

    def _written(self, token: int) -> str:
        """Return a control token's name, or nothing for a vocabulary without it."""
        if token < 0:
            return ""
        name: bytes = self._library.llama_vocab_get_text(self.vocabulary, token)
        return name.decode("utf-8", "replace")
