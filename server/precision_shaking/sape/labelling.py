"""Soft labels for the texts of a session that have none, while its user reads or after it is done.

A text has none where its teacher gives no log-probabilities, or where the user wrote it. Scoring one takes
seconds of the whole machine, so nothing else ever waits for it: it happens only while nothing else is
computed, begins anew after it was interrupted, and what the session does not come to can be scored later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from attrs import define, field

from dorpo.rendering import to_messages
from dorpo.softlabels import spelling
from dorpo.store import Store, StoreError, Unlabelled
from precision_shaking.sape import events as e
from precision_shaking.sape.channel import Channel, ChannelError
from precision_shaking.sape.scorers import EMBEDDED
from precision_shaking.sape.teachers import TeacherError

T = TypeVar("T")


@define(eq=False)
class Labeller:
    """Scores what lacks soft labels, one text after the other.

    Attributes:
        store: The dataset.
        session: Whose texts.
        channel: The way to the model.
        emit: Called with what came of it.
        scorer: The model; None leaves a text to the embedded teacher that wrote it, or whose text the user
            changed.
        own: The user's own model, which is not asked where none is named: what it thinks of a text of
            theirs is what it shall unlearn.
    """

    store: Store
    session: str
    channel: Channel
    emit: Callable[[e.SessionEvent], None]
    scorer: str | None = None
    own: str | None = None
    # Too long for the model, or no text that its tokens spell.
    _passed_over: set[str] = field(factory=set, init=False)
    _failed: bool = field(default=False, init=False)

    async def during(self, waiting: Awaitable[T], worker: str) -> T:
        """Score until what is waited for has come; `worker` as in `finish`."""
        scoring = asyncio.create_task(self.finish(worker))
        try:
            return await waiting
        finally:
            scoring.cancel()
            await asyncio.gather(scoring, return_exceptions=True)

    async def finish(self, worker: str) -> None:
        """Score all that can be scored. Whatever goes wrong is told in a sentence, and the rest is left.

        Args:
            worker: The worker's teacher, to which a text of the user's is left that no attempt came before.
        """
        if self._failed:
            return
        try:
            await self._finish(worker)
        except (TeacherError, ChannelError, StoreError) as error:
            self._give_up(str(error))
        except Exception as error:  # whatever it is: soft labels are never worth a session
            self._give_up(f"The model met an error of its own ({type(error).__name__}: {error}).")

    async def _finish(self, worker: str) -> None:
        found = [(one.uid, self._model(one, worker)) for one in self.store.unlabelled(self.session)]
        waiting = [(uid, model) for uid, model in found if model and uid not in self._passed_over]
        for done, (uid, model) in enumerate(waiting):
            self._tell(model, len(waiting) - done)
            await self._score(uid, model)
        if waiting:
            self._tell(waiting[-1][1], 0)

    def _model(self, text: Unlabelled, worker: str) -> str | None:
        if self.scorer is not None:
            return self.scorer
        model = text.teacher or worker
        return model if model.startswith(EMBEDDED) and model != self.own else None

    async def _score(self, uid: str, model: str) -> None:
        text = self.store.unlabelled_text(uid)
        if text is None:
            return
        scores = await self.channel.score(model, to_messages(text.prompt), text.response)
        labels = spelling(scores, text.response)
        if labels is None:
            self._passed_over.add(uid)
        else:
            self.store.add_soft_labels(uid, labels, model)

    def _tell(self, model: str, waiting: int) -> None:
        tally = self.store.tally(self.session)
        self.emit(e.Scoring(self.session, model, waiting, tally.rows, tally.labelled))

    def _give_up(self, why: str) -> None:
        self._failed = True
        self.emit(e.ScoringFailed(self.session, f"No soft labels are made for this session's texts: {why}"))
