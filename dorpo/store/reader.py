"""What can be asked of the dataset. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator

from dorpo.store.calls import read_calls
from dorpo.store.file import DatasetFile
from dorpo.store.harvest import HarvestedStep, read_steps
from dorpo.store.labelling import Unlabelled, UnlabelledText, find_unlabelled, read_unlabelled
from dorpo.store.reading import fingerprint, read_slice, read_stats
from dorpo.store.records import AgentCall, Row, Said, SessionSummary, Stats, Usage
from dorpo.store.summaries import read_sessions, read_usage

_USERS_WORDS = """
SELECT words, verdict FROM feedback
WHERE decided_by = 'user' AND trim(words) != '' ORDER BY id DESC LIMIT ?
"""


class DatasetReader(DatasetFile):
    """An open dataset's rows, calls and numbers."""

    def rows(self) -> Iterator[Row]:
        """The complete rows, those of a step together, always in the same order.

        They are read in short slices, and nothing is kept locked while the caller works on one.
        """
        reached = (0, 0)
        while True:
            with self._tables.read():
                found, reached = read_slice(self._tables.db, self.path, reached)
            if not found:
                return
            yield from found

    def snapshot(self) -> tuple[list[Row], str]:
        """The complete rows in memory, and the SHA-256 of everything a training sees of them."""
        rows = list(self.rows())
        return rows, fingerprint(rows)

    def stats(self) -> Stats:
        """Count what the dataset holds."""
        with self._tables.read():
            return read_stats(self._tables.db, self.path)

    def sessions(self) -> list[SessionSummary]:
        """Every session, the oldest first."""
        with self._tables.read():
            return read_sessions(self._tables)

    def usage(self, session_uid: str | None = None) -> list[Usage]:
        """What the calls took, of one session or of all, for each step, agent and teacher; see `Usage.total`.

        Raises:
            StoreError: There is no such session.
        """
        with self._tables.read():
            session = None if session_uid is None else self._tables.session(session_uid)
            return read_usage(self._tables, session)

    def unlabelled(self, session_uid: str | None = None) -> list[Unlabelled]:
        """The attempts in rows that lack soft labels, of one session or of all, the oldest first.

        Raises:
            StoreError: There is no such session.
        """
        with self._tables.read():
            session = None if session_uid is None else self._tables.session(session_uid)
            return find_unlabelled(self._tables, session)

    def unlabelled_text(self, attempt_uid: str) -> UnlabelledText | None:
        """The text of one of them; None where it has soft labels by now, or was deleted."""
        with self._tables.read():
            return read_unlabelled(self._tables, attempt_uid)

    def agent_calls(self, agent: str) -> Iterator[AgentCall]:
        """The readable calls of an agent of which it is known what came of them, the oldest first.

        Read in short slices, as `rows`.
        """
        reached = 0
        while True:
            with self._tables.read():
                found, reached, more = read_calls(self._tables, agent, reached)
            yield from found
            if not more:
                return

    def users_words(self, most: int) -> list[Said]:
        """What users said of attempts and decided themselves, by a button or a correction, newest first."""
        with self._tables.read():
            return [Said(*found) for found in self._tables.all(_USERS_WORDS, most)]

    def harvested_steps(self, instance: str) -> Iterator[HarvestedStep]:
        """Every step of an instance's sessions with its attempts and what became of them, in their order.

        Credentials are taken out. Read in short slices, as `rows`.
        """
        reached = 0
        while True:
            with self._tables.read():
                found, reached = read_steps(self._tables, instance, reached)
            if not found:
                return
            yield from found
