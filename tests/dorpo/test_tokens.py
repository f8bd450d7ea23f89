"""The student's tokens as bytes, for both families of tokenizers, and its chat format."""

from __future__ import annotations

import pytest
from tiny_student import byte_tokenizer, byte_tokens

from dorpo.token_bytes import read
from dorpo.tokens import TokenizerError, student_tokens

pytestmark = pytest.mark.train

TEXTS = [
    "x = 12345\n\tif x:\n        pass\n",
    "# naïve “quotes” 漢字 🙂\n",
    "  leading",
    "\n\n\n",
    "a\r\nb\x0c",
]
CORPUS = ["def greet(name):\n    print('Hello', name)\n", "x = 12345 + 201\n", *TEXTS] * 5


def byte_level():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentencepiece():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, limit_alphabet=60, show_progress=False
    )
    tokenizer.train_from_iterator(["def greet(name): print(name)", "x = 1 + 2"] * 5, trainer)
    return tokenizer


def wrapped(tokenizer):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("make", [byte_level, byte_tokenizer])
def test_byte_level_tokens_join_to_the_text(make, text):
    made = make()
    tokenizer = made if hasattr(made, "backend_tokenizer") else wrapped(made)
    vocabulary = read(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    pieces = vocabulary.spell(ids, text)
    assert pieces is not None
    assert b"".join(pieces) == text.encode()
    assert vocabulary.byte_level


@pytest.mark.parametrize("text", ["def greet(name)", "  x = 1", "naïve 🙂", "x\n    y"])
def test_sentencepiece_tokens_join_to_the_text_without_the_space_before_it(text):
    tokenizer = sentencepiece_tokenizer()
    vocabulary = read(tokenizer)
    pieces = vocabulary.spell(tokenizer.encode(text, add_special_tokens=False), text)
    assert pieces is not None
    assert b"".join(pieces) == text.encode()
    assert not vocabulary.byte_level


def sentencepiece_tokenizer():
    """Its byte tokens are ordinary tokens, as in the models that have them."""
    import json

    from tokenizers import Tokenizer

    description = json.loads(sentencepiece().to_str())
    description["added_tokens"] = [token for token in description["added_tokens"] if token["id"] == 0]
    return wrapped(Tokenizer.from_str(json.dumps(description)))


def test_sentencepiece_alternatives_begin_without_an_extra_space():
    tokenizer = sentencepiece_tokenizer()
    vocabulary = read(tokenizer)
    first = vocabulary.first_id(b"prints")
    assert first is not None
    assert b"prints".startswith(vocabulary.pieces[first])
    spaced = vocabulary.first_id(b" printing")
    assert spaced is not None
    assert vocabulary.pieces[spaced].startswith(b" ")


def test_a_text_begins_with_its_first_token():
    tokenizer = wrapped(byte_level())
    vocabulary = read(tokenizer)
    first = vocabulary.first_id(b"greetings")
    assert first == tokenizer.encode("greetings")[0]
    assert vocabulary.first_id(b"\xe2\x80") is None
    assert vocabulary.id_of(b"\xe2") is not None


def test_text_that_a_tokenizer_changes_has_no_bytes():
    from tokenizers import normalizers

    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Lowercase()
    lowered = wrapped(tokenizer)
    assert read(lowered).spell(lowered.encode("ABC"), "ABC") is None


def test_packed_digits_are_noticed():
    assert read(wrapped(byte_level())).packs_digits
    assert not read(byte_tokenizer()).packs_digits


def test_other_tokenizers_are_refused():
    from tokenizers import Tokenizer, models

    tokenizer = wrapped(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    with pytest.raises(TokenizerError, match="neither byte-level"):
        student_tokens(tokenizer)


def test_a_model_without_a_chat_format_is_refused():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TokenizerError, match="no chat template"):
        student_tokens(tokenizer)


def test_a_turn_ends_as_the_chat_template_ends_it():
    tokens = byte_tokens()
    assert tokens.end_of_turn == tokens.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tokens.end_of_turn != tokens.tokenizer.eos_token_id


def test_a_template_that_ends_turns_with_plain_text_uses_the_end_of_the_text():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    assert student_tokens(tokenizer).end_of_turn == tokenizer.eos_token_id


def test_the_prompt_ends_where_the_answer_begins():
    tokens = byte_tokens()
    ids = tokens.prompt([{"role": "user", "content": "hi"}])
    assert tokens.tokenizer.decode(ids).endswith("<|im_start|>assistant\n")
