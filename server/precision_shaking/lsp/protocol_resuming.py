"""The messages about sessions that broke off, a part of the wire contract: see `protocol`."""

from __future__ import annotations

from attrs import frozen


@frozen
class OpenSession:
    """A session that broke off, and can be resumed or given up.

    Attributes:
        uri: Its document's URI.
        created_at: When it began, ISO 8601 in UTC.
        step: Index of the step it stopped at, -1 before there was a plan.
        steps: Number of steps in the plan.
        text: What that step is to do.
        teachers: The pool it was started with.
        problem: Why it can only be given up, in a sentence; empty when it can be resumed.
    """

    session: str
    uri: str
    request: str
    created_at: str
    step: int
    steps: int
    text: str
    teachers: tuple[str, ...]
    problem: str


@frozen
class OpenSessionsResult:
    """The answer to `openSessions`: the sessions that broke off, the newest first, without running ones."""

    sessions: tuple[OpenSession, ...]


@frozen
class ResumeSessionParams:
    """`resumeSession`: go on with a session on its open document; its plan and proposal are told again."""

    session: str


@frozen
class ResumeSessionResult:
    """The answer to `resumeSession`."""

    session: str


@frozen
class AbandonSessionParams:
    """`abandonSession`: give up a session that broke off; what was accepted stays."""

    session: str
