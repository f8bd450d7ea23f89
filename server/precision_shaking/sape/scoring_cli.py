"""`precision-shaking score`: soft labels for the rows that have none, by a model on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import asdict, define
from rich.console import Console
from rich.progress import track

from dorpo.rendering import to_messages
from dorpo.softlabels import spelling
from dorpo.store import Store, StoreError, UnlabelledText, default_path
from precision_shaking.sape.environment import quieten
from precision_shaking.sape.scorers import EMBEDDED, parse_scorer

_DEFAULT_SCORER = f"{EMBEDDED}smollm2"
_DONE, _UNUSABLE, _INTERRUPTED = 0, 2, 130


@define
class Scored:
    """What a run did, in texts.

    Attributes:
        scorer: The model.
        scored: They have soft labels now.
        tokens: Of these, as the model cuts them.
        passed_over: Too long for the model with their prompts, or not what its tokens spell.
        left: Not come to.
    """

    scorer: str
    left: int
    scored: int = 0
    tokens: int = 0
    passed_over: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        scored = f"{_texts(self.scored)} of {self.tokens:,} tokens"
        parts = [f"{self.scorer} scored {scored} in {self.seconds:.1f} s"]
        if self.passed_over:
            parts.append(f"{_texts(self.passed_over)} too long for it")
        if self.left:
            parts.append(f"{_texts(self.left)} left: run it again to go on")
        return ", ".join(parts) + "."


def run_scoring(arguments: argparse.Namespace) -> int:
    """Score every text of a row that has no soft labels; each is stored as soon as it is scored.

    Returns:
        0 when all were come to, 2 when dataset or model cannot be used, 130 after Ctrl+C.
    """
    quieten(default_path().parent)
    try:
        scorer = parse_scorer(arguments.scorer or _DEFAULT_SCORER)
    except ValueError as error:
        return _complain(f"--scorer must be {error}.")
    from precision_shaking.sape.embedded.errors import EmbeddedModelUnavailableError

    path = Path(arguments.db) if arguments.db else default_path()
    try:
        with Store.open(path, create=False) as store:
            uids = [found.uid for found in store.unlabelled()]
            done = Scored(scorer, len(uids))
            with _told(done, as_json=arguments.json):
                _score_all(store, uids, done)
    except (StoreError, EmbeddedModelUnavailableError) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _INTERRUPTED
    return _DONE


def _score_all(store: Store, uids: list[str], done: Scored) -> None:
    waiting = Console(stderr=True)
    for uid in track(uids, done.scorer, console=waiting, transient=True, disable=not waiting.is_terminal):
        text = store.unlabelled_text(uid)
        # Else somebody scored or deleted it meanwhile.
        if text is not None:
            _score(store, uid, text, done)
        done.left -= 1


def _score(store: Store, uid: str, text: UnlabelledText, done: Scored) -> None:
    from precision_shaking.sape.embedded import score
    from precision_shaking.sape.embedded.errors import PromptTooLongError

    try:
        scores = score(done.scorer, to_messages(text.prompt), text.response)
    except PromptTooLongError:
        done.passed_over += 1
        return
    labels = spelling(scores, text.response)
    if labels is None:
        done.passed_over += 1
    elif store.add_soft_labels(uid, labels, done.scorer):
        done.scored += 1
        done.tokens += len(labels)


@contextmanager
def _told(done: Scored, *, as_json: bool) -> Iterator[None]:
    """Say what was done, also where it breaks off."""
    begun = time.monotonic()
    try:
        yield
    finally:
        done.seconds = round(time.monotonic() - begun, 3)
        sys.stdout.write((json.dumps(asdict(done)) if as_json else str(done)) + "\n")


def _texts(number: int) -> str:
    return "1 text" if number == 1 else f"{number:,} texts"


def _complain(sentence: str) -> int:
    sys.stderr.write(f"precision-shaking: {sentence}\n")
    return _UNUSABLE
