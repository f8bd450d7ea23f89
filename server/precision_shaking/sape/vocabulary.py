"""The words of a SAPE session: phases, verdicts, reasons, outcomes, and the values they are said of."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Phase(StrEnum):
    """What the workflow is waiting for."""

    PLANNING = "planning"
    INSTRUCTING = "instructing"
    WORKING = "working"
    EXECUTING = "executing"
    ASKING = "asking"
    READING = "reading"
    STUCK = "stuck"
    FINISHED = "finished"


class Verdict(StrEnum):
    """What the user thinks of a proposal."""

    ACCEPTED = "accepted"
    REDO = "redo"
    FURTHER_EDIT = "further_edit"


UNCLEAR = "unclear"
# What the feedback analyzer may answer.
READINGS = (*(str(verdict) for verdict in Verdict), UNCLEAR)


class Reason(StrEnum):
    """Why an attempt became the rejected side of a row."""

    ERROR = "error"
    REDO = "redo"
    FURTHER_EDIT = "further_edit"
    AMENDED = "amended"


class DecidedBy(StrEnum):
    """Who chose a verdict: a button of the user's, or the feedback analyzer reading their words."""

    USER = "user"
    ANALYZER = "analyzer"


class Outcome(StrEnum):
    """How an execution ended. Only `SCRIPT_ERROR` is the script's own fault."""

    OK = "ok"
    SCRIPT_ERROR = "script_error"
    TIMEOUT = "timeout"
    LIMIT = "limit"
    SANDBOX_DENIED = "sandbox_denied"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    CANCELLED = "cancelled"


class Help(StrEnum):
    """What the user may choose when every teacher has failed at a step."""

    RETRY = "retry"
    SKIP = "skip"
    STOP = "stop"


class SessionStatus(StrEnum):
    """How a session ended."""

    DONE = "done"
    ABANDONED = "abandoned"


@frozen
class Limits:
    """Bounds that keep a session from running away.

    Attributes:
        teachers: Number of teachers in the worker's pool.
        max_attempts: Failed attempts at a step before the worker's next teacher is used.
        max_unreadable: Unreadable answers in a row before the worker's next teacher is used.
        max_steps: Steps of a plan that are kept.
        max_whole_lines: The longest script that the worker writes whole; of longer ones it writes regions.
    """

    teachers: int = 1
    max_attempts: int = 3
    max_unreadable: int = 2
    max_steps: int = 8
    max_whole_lines: int = 350


@frozen
class Attempt:
    """What the worker produced in a cycle; `response` is the answer exactly as the teacher wrote it."""

    uid: str
    response: str
    reasoning: str
    script: str


@frozen
class Setback:
    """What the lead and the worker must know of the attempt before this one.

    Attributes:
        reason: Why it was not accepted.
        script: The attempted script. For a further edit it is also the new current script.
        words: The user's feedback, or the trimmed traceback of an error.
    """

    reason: Reason
    script: str
    words: str
