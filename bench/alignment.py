"""How fast a teacher's tokens are brought to a student's, and how much of the text keeps which label.

    python bench/alignment.py [--megabytes 2] [--runs 3]

The corpus is Python's own library. Two byte-level BPE tokenizers are trained on different halves of it, the
teacher's with the larger vocabulary; every response gets made-up top-20 scores. Measured is
`dorpo.align.align` alone, on one core, the fastest of the runs. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dorpo.align import Kind, align
from dorpo.softlabels import TokenScore
from dorpo.token_bytes import TokenBytes, read

STUDENT, TEACHER = 8_000, 24_000
# Of a response: long scripts.
CHARACTERS = 4_000
SHARES = {Kind.ONE_TO_ONE: "one_to_one", Kind.CHUNK: "chunk", Kind.HARD: "hard"}


def main() -> None:
    """Train the tokenizers, align the corpus, and print figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=2.0, help="of text to align")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    texts = list(corpus(int(args.megabytes * 1e6)))
    student, teacher = vocabulary(texts[::2], STUDENT), vocabulary(texts[1::2], TEACHER)
    pairs = [encode(text, student, teacher) for text in texts]
    size = sum(len(text.encode()) for text in texts)
    seconds = []
    for _ in range(args.runs):
        kinds: Counter[Kind] = Counter()
        begun = time.process_time()
        for ids, pieces, scores in pairs:
            kinds.update(align(ids, pieces, scores, student).kinds)
        seconds.append(time.process_time() - begun)
    tokens = kinds.total()
    shares = {name: round(kinds[kind] / tokens, 4) for kind, name in SHARES.items()}
    speed = {"mb_per_second": size / min(seconds) / 1e6, "tokens_per_second": tokens / min(seconds)}
    print(f"{size / 1e6:.1f} MB in {len(texts)} responses, {tokens:,} student tokens")
    print(f"{speed['mb_per_second']:.2f} MB/s, {speed['tokens_per_second']:,.0f} tokens/s")
    print(", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    rounded = {name: round(value, 2) for name, value in speed.items()}
    print(json.dumps({"bytes": size, "student_tokens": tokens, **rounded, "shares": shares}))


def corpus(size: int) -> Iterator[str]:
    """Modules of Python's library in pieces, up to so many characters."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_text(encoding="utf-8")
        for start in range(0, len(source), CHARACTERS):
            if size <= 0:
                return
            yield (piece := source[start : start + CHARACTERS])
            size -= len(piece)


def vocabulary(texts: Sequence[str], size: int) -> TokenBytes:
    """A byte-level BPE tokenizer learnt from these texts, with its tokens as bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return read(PreTrainedTokenizerFast(tokenizer_object=tokenizer))


def encode(
    text: str, student: TokenBytes, teacher: TokenBytes
) -> tuple[list[int], list[bytes], list[TokenScore]]:
    """The student's tokens of a text, and the teacher's with scores as a provider reports them."""
    ids = list(student.tokenizer.encode(text).ids)
    pieces = student.spell(ids, text)
    assert pieces is not None, "the tokenizer lost bytes"
    scores = [score(token, teacher.pieces) for token in teacher.tokenizer.encode(text).ids]
    return ids, pieces, scores


def score(token: int, pieces: Sequence[Any]) -> TokenScore:
    """A teacher that gives the text 0.8, 19 other tokens 0.15 together, and the rest to all others."""
    others = [pieces[(token + 37 * n) % len(pieces)] or b"?" for n in range(1, 20)]
    own = math.log(0.8)
    top = ((pieces[token], own), *((other, math.log(0.15 / 19)) for other in others))
    return TokenScore(pieces[token], own, top)


if __name__ == "__main__":
    main()
