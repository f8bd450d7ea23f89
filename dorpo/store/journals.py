"""Sessions that broke off: what they were told, so that they can go on, and who is at work on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from attrs import frozen

from dorpo.store.errors import StoreError
from dorpo.store.file import DatasetFile
from dorpo.store.locking import file_lock
from dorpo.store.tables import now, storable

_BEGINNING = """
SELECT session.uid, session.created_at, document, language, request.body, script.body, settings, status
FROM session
JOIN text AS request ON request.id = session.request
JOIN text AS script ON script.id = session.script
"""
_UNFINISHED = f"{_BEGINNING} WHERE status IN ('open', 'crashed') AND settings IS NOT NULL ORDER BY session.id"
_ATTEMPT = """
SELECT attempt.teacher, run.backend, run.outcome, run.exit_code, text.body, run.seconds
FROM attempt
LEFT JOIN run ON run.attempt_id = attempt.id
LEFT JOIN text ON text.id = run.output
WHERE attempt.uid = ? ORDER BY run.id DESC LIMIT 1
"""
_ROWS = "SELECT count(*) FROM pair JOIN step ON step.id = pair.step_id WHERE step.session_id = ?"
_LABELLED = """
SELECT count(*) FROM pair
JOIN step ON step.id = pair.step_id AND step.status = 'accepted'
JOIN soft_labels ON soft_labels.attempt_id = pair.chosen_id
WHERE step.session_id = ?
"""
_HAS_LABELS = """
SELECT 1 FROM soft_labels JOIN attempt ON attempt.id = soft_labels.attempt_id WHERE attempt.uid = ?
"""
# An engine that is ending lets go of its session within this time.
_FAREWELL_SECONDS = 1.0


@frozen
class Beginning:
    """How a session began.

    Attributes:
        document: As its editor names it.
        request: What should change, in the user's words.
        script: The document's text.
        settings: What resuming needs besides, as JSON; None where a session cannot be resumed.
        status: open, done, abandoned or crashed. One whose engine was killed is open, but nobody holds it.
    """

    uid: str
    created_at: str
    document: str
    language: str
    request: str
    script: str
    settings: str | None
    status: str


@frozen
class AttemptRun:
    """An attempt's teacher and its last run; everything but the teacher is None where it was not run."""

    teacher: str
    backend: str | None
    outcome: str | None
    exit_code: int | None
    output: str | None
    seconds: float | None


@frozen
class Tally:
    """What a session has brought so far.

    Attributes:
        rows: Its rows, complete or not.
        labelled: Those whose chosen text has soft labels.
    """

    rows: int
    labelled: int


class SessionJournals(DatasetFile):
    """The part of a dataset that sessions are resumed from."""

    def transaction(self) -> AbstractContextManager[None]:
        """A larger unit of work: what is written in the block is stored together, or not at all."""
        return self._tables.write()

    def add_event(self, session_uid: str, event: str) -> None:
        """Append to a session's journal what happened, as JSON."""
        with self._tables.write():
            session = self._tables.session(session_uid)
            (n,) = self._tables.one("SELECT count(*) FROM journal WHERE session_id = ?", session) or (0,)
            self._tables.insert("journal", session_id=session, n=n, created_at=now(), event=storable(event))

    def events(self, session_uid: str) -> list[str]:
        """A session's journal, the oldest event first."""
        with self._tables.read():
            session = self._tables.session(session_uid)
            query = "SELECT event FROM journal WHERE session_id = ? ORDER BY n"
            return [event for (event,) in self._tables.all(query, session)]

    def unfinished(self) -> list[Beginning]:
        """The sessions that have not ended and could go on, the oldest first; some may be running."""
        with self._tables.read():
            return [Beginning(*found) for found in self._tables.all(_UNFINISHED)]

    def beginning(self, session_uid: str) -> Beginning:
        """How a session began."""
        with self._tables.read():
            session = self._tables.session(session_uid)
            found = self._tables.one(f"{_BEGINNING} WHERE session.id = ?", session)
            return Beginning(*(found or ()))

    def reopen(self, session_uid: str) -> None:
        """Say that a session which broke off goes on."""
        with self._tables.write():
            session = self._tables.session(session_uid)
            crashed = (
                "UPDATE session SET status = 'open', ended_at = NULL WHERE id = ? AND status = 'crashed'"
            )
            self._tables.run(crashed, session)

    def attempt_run(self, attempt_uid: str) -> AttemptRun:
        """Who made an attempt, and how its script ended."""
        with self._tables.read():
            found = self._tables.one(_ATTEMPT, attempt_uid)
        if found is None:
            raise StoreError(
                f"The dataset {self.path} has no attempt {attempt_uid}: it may have been deleted."
            )
        return AttemptRun(*found)

    def tally(self, session_uid: str) -> Tally:
        """Count what a session has brought."""
        with self._tables.read():
            session = self._tables.session(session_uid)
            counts = [self._tables.one(query, session) or (0,) for query in (_ROWS, _LABELLED)]
            return Tally(*(int(count) for (count,) in counts))

    def has_soft_labels(self, attempt_uid: str) -> bool:
        """Whether an attempt has soft labels."""
        with self._tables.read():
            return self._tables.one(_HAS_LABELS, attempt_uid) is not None

    # Who is at work on a session: known by a lock, which is free as soon as its holder is gone

    @contextlib.contextmanager
    def hold(self, session_uid: str) -> Iterator[None]:
        """Be the only one who works on a session for as long as the block takes.

        Raises:
            StoreError: Somebody else does, or the lock's file cannot be made beside the dataset.
        """
        lock = self._lock_file(session_uid)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(file_lock(lock, seconds=_FAREWELL_SECONDS))
            except TimeoutError:
                raise StoreError(
                    "This session is running already: answer it in the window that shows it."
                ) from None
            except OSError as error:
                reason = error.strerror or error
                raise StoreError(
                    f"{lock} cannot be made ({reason}): make the dataset's folder writable."
                ) from error
            yield
            ended = self._has_ended(session_uid)
        if ended:
            # Nobody waits for it any more. The file of a session that can be resumed stays: a lock is only
            # safe where all look at the same file.
            with contextlib.suppress(OSError):
                lock.unlink()

    def is_held(self, session_uid: str) -> bool:
        """Whether somebody works on a session now."""
        lock = self._lock_file(session_uid)
        if not lock.exists():
            return False
        try:
            with file_lock(lock, seconds=0.0):
                return False
        except (TimeoutError, OSError):
            return True

    def _has_ended(self, session_uid: str) -> bool:
        with self._tables.read():
            found = self._tables.one("SELECT status FROM session WHERE uid = ?", session_uid)
        return found is None or found[0] in ("done", "abandoned")

    def _lock_file(self, session_uid: str) -> Path:
        # A uid may come from outside; nothing of it becomes a path but what uids are made of.
        name = "".join(character for character in session_uid if character.isalnum() or character == "-")
        return self.path.with_name(f"{self.path.name}.{name}.lock")
