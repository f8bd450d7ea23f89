"""The sessions of one editor: each has an engine of its own and works on one document, or several files."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from precision_shaking.lsp.places import Place
from precision_shaking.lsp.proposals import Pending
from precision_shaking.lsp.rpc import RefusedError
from precision_shaking.sape.events import HelpNeeded
from precision_shaking.sape.process import EngineProcess


@define(eq=False)
class Session:
    """A session as the server knows it; what it means is the engine's to know.

    Attributes:
        uri: The document that it was started on.
        base: The text that both the engine's current script and what the place holds descend from.
        place: Where the session's text lies.
        pending: The proposal that waits for an answer.
        help: The question that waits for an answer after every teacher failed.
        answering: Whether an answer is on its way: a second click must not become a second answer.
        holds_accepted: Whether the document already holds the text of the acceptance that the engine is about
            to report. False when the feedback analyzer decided: then the text still has to be written.
        owes: Whether an accepted text could not be written into the document.
    """

    uid: str
    uri: str
    request: str
    base: str
    engine: EngineProcess
    place: Place
    steps: tuple[str, ...] = ()
    pending: Pending | None = None
    help: HelpNeeded | None = None
    answering: bool = False
    holds_accepted: bool = False
    owes: bool = False
    # Asked for at every code action, so it is not read out of the text each time.
    _names: frozenset[str] = frozenset()

    def covers(self, uri: str) -> bool:
        """Whether a document is the session's, or one of its files."""
        return uri == self.uri or self.place.name_of(uri) in self._names

    def hold(self, text: str) -> None:
        """The place holds this text, and so does the engine."""
        self.base, self._names = text, frozenset(self.place.files(text))

    def __attrs_post_init__(self) -> None:
        self.hold(self.base)


@define
class Sessions:
    """The running sessions."""

    _by_uid: dict[str, Session] = field(factory=dict)
    _starting: set[str] = field(factory=set)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_uid.values()))

    def get(self, uid: str) -> Session:
        """The session with this uid.

        Raises:
            RefusedError: There is none (any more).
        """
        session = self._by_uid.get(uid)
        if session is None:
            raise RefusedError("This session has ended; start a new one.")
        return session

    def of(self, uri: str) -> Session | None:
        """The session on this document."""
        return next((session for session in self if session.covers(uri)), None)

    def reserve(self, uri: str) -> None:
        """Say that a session on this document is about to start.

        Raises:
            RefusedError: There is one already.
        """
        if self.of(uri) or uri in self._starting:
            raise RefusedError("A session on this document is running already; answer or stop it first.")
        self._starting.add(uri)

    def add(self, session: Session) -> None:
        """A session has started."""
        self._by_uid[session.uid] = session

    def release(self, uri: str) -> None:
        """The session on this document has started, or will not start."""
        self._starting.discard(uri)

    def remove(self, session: Session) -> None:
        """The session has ended."""
        self._by_uid.pop(session.uid, None)

    def kill(self) -> None:
        """End every engine at once."""
        for session in self:
            session.engine.kill()
