"""Stopping a training at any moment without tearing apart what it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field


class TrainingCancelledError(BaseException):
    """The user stops the training. Not an Exception: no library on the way may swallow it."""


@define(eq=False)
class Cancellation:
    """A wish to stop, which may come at any moment.

    `request` is a signal handler. It only takes a note, which the Trainer looks at between micro-batches and
    nobody looks at while files are written; within `interruptible` it stops the program right where it is.
    """

    requested: bool = False
    _interruptible: bool = field(default=False, init=False)

    def request(self, *_signal: Any) -> None:
        """Ask to stop.

        Raises:
            TrainingCancelledError: Within `interruptible`.
        """
        self.requested = True
        if self._interruptible:
            raise TrainingCancelledError

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A stretch that may be torn apart, because it changes nothing that is kept.

        Raises:
            TrainingCancelledError: The wish came before, or comes now.
        """
        if self.requested:
            raise TrainingCancelledError
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False
