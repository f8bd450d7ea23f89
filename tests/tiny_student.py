"""A student that trains in no time: a byte-level tokenizer and a random Llama of two narrow layers.

Plain functions, so that subprocess tests can write it to a folder too, and so can tests in other languages:

    python tests/tiny_student.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

END = "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_tokenizer() -> Any:
    """Every byte is a token, and no two of them ever join."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", END, "<|endoftext|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token=END)
    fast.chat_template = CHAT_TEMPLATE
    return fast


def byte_tokens() -> Any:
    from dorpo.tokens import student_tokens

    return student_tokens(byte_tokenizer())


def llama(vocabulary: int = 259, seed: int = 0) -> Any:
    """Grouped-query attention and tied embeddings, as the small models have them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            pad_token_id=0,
        )
    )


def save_student(folder: Path) -> Path:
    """Write the student where `dorpo.student.load_student` finds it."""
    byte_tokenizer().save_pretrained(folder)
    llama().save_pretrained(folder)
    return folder


if __name__ == "__main__":
    save_student(Path(sys.argv[1]))
