"""What the engine and its client say to each other: JSON-RPC 2.0, one JSON object a line.

Requests go to the engine (`start` or `resume`, then `answer`, `help`, `correct` and `stop`); notifications
called `event` come back.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import cattrs
from attrs import asdict, field, frozen

Params = TypeVar("Params")

# JSON-RPC's own number for parameters that do not fit, and ours for a request that came at the wrong time.
PARSE_ERROR = -32700
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
REQUEST_FAILED = -32000


@frozen
class TeacherAccess:
    """A teacher and how to reach it. Keys travel only here: never in arguments or the environment.

    Attributes:
        name: `provider/model`, for example `embedded/smollm2` or `openai/gpt-4o`.
        base_url: Of an OpenAI-compatible server, when it is not the provider's own.
        api_key: None when the teacher needs none or its provider's environment variable holds it.
        worker_only: Whether only the worker asks it, before all others: the user's own model, which has
            learnt nothing else.
    """

    name: str
    base_url: str | None = None
    # Kept out of every log and traceback.
    api_key: str | None = field(default=None, repr=False)
    worker_only: bool = False


@frozen
class StartParams:
    """`start`: begin the engine's only session.

    Attributes:
        document: The document's name as the user knows it (a path or URI); never opened by the engine.
        script: The document's text, lines ended by a plain line feed.
        db: The dataset's file; None for the user's default one.
        max_attempts: Failed attempts at a step before the next teacher is used.
        execute: False where scripts must not be run (an untrusted workspace).
        max_whole_lines: The longest script that the worker writes whole; of longer ones it writes regions.
        record: A file to make, which keeps every exchange with the teachers.
        replay: Such a file, whose teachers and answers are used instead of `teachers`.
        instance: Name of the SAPE instance.
        workspace: The folder that the document belongs to, whose own instances can be named and which is
            copied where something is run with it; None when that is not known.
        unprotected: Whether the user agreed to run an instance's command where it cannot be isolated.
        scorer: A model for texts without log-probabilities, see `sape.scorers`; None leaves them to the
            embedded teacher that they are of, if they are of one.
    """

    document: str
    script: str
    request: str
    teachers: tuple[TeacherAccess, ...]
    language: str = "python"
    db: str | None = None
    max_attempts: int = 3
    execute: bool = True
    record: str | None = None
    replay: str | None = None
    max_whole_lines: int = 350
    instance: str = "script"
    workspace: str | None = None
    unprotected: bool = False
    scorer: str | None = None


@frozen
class ResumeParams:
    """`resume`: go on with a session that broke off, as the engine's only one.

    Attributes:
        api_keys: The teachers' keys, by NAME[@BASE_URL]; keys are never stored.
        db: The dataset's file; None for the user's default one.
        execute: False where scripts must not be run now, even if they were before.
    """

    session: str
    api_keys: dict[str, str] = field(factory=dict, repr=False)
    db: str | None = None
    execute: bool = True


@frozen
class StartResult:
    """The answer to `start` and `resume`.

    Attributes:
        script: The document's text when the session began.
        workspace: The folder that the document belongs to; None when that is not known.
        writes: Patterns of the files that may be written; None where the document is one file.
    """

    session: str
    document: str
    request: str
    script: str
    workspace: str | None = None
    writes: tuple[str, ...] | None = None


@frozen
class AnswerParams:
    """`answer`: what the user says about a proposal.

    Attributes:
        attempt: The proposal's attempt; an answer to an older one is refused.
        verdict: `accepted`, `redo` or `further_edit`; None lets the feedback analyzer read `words`.
        amended: The proposal's text as the user left it, when they changed it.
        document: What the document holds now, when that is not the accepted text.
    """

    attempt: str
    verdict: str | None = None
    words: str = ""
    amended: str | None = None
    document: str | None = None


@frozen
class HelpParams:
    """`help`: how to go on after every teacher failed.

    Attributes:
        choice: `retry`, `skip` or `stop`.
        script: The user's own solution of the step; with one, the choice says nothing.
        document: What the document holds now, when that is not this solution.
    """

    choice: str
    script: str | None = None
    document: str | None = None


@frozen
class CorrectParams:
    """`correct`: what the user really meant by their words about an attempt; `verdict` as in `answer`."""

    attempt: str
    verdict: str


class WireError(Exception):
    """A message could not be read or a request was refused; `code` is JSON-RPC's."""

    def __init__(self, message: str, code: int = REQUEST_FAILED) -> None:
        super().__init__(message)
        self.code = code


def encode(message: dict[str, Any]) -> bytes:
    """One message as a line of UTF-8."""
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message on this line.

    Raises:
        WireError: It is not a JSON object.
    """
    try:
        message = json.loads(line)
    except ValueError as error:
        raise WireError(f"not a JSON message: {error}", PARSE_ERROR) from error
    if not isinstance(message, dict):
        raise WireError("a message must be a JSON object", PARSE_ERROR)
    return message


def to_params(
    value: StartParams | ResumeParams | AnswerParams | HelpParams | CorrectParams,
) -> dict[str, Any]:
    """Parameters as JSON."""
    return asdict(value)


def read_params(params: Any, wanted: type[Params]) -> Params:
    """Parameters from JSON.

    Raises:
        WireError: A field is missing or has the wrong type.
    """
    try:
        return cattrs.structure(params, wanted)
    except (cattrs.BaseValidationError, TypeError, ValueError, KeyError) as error:
        why = _params_error(error)
        raise WireError(f"these are not {wanted.__name__}: {why}", INVALID_PARAMS) from error


def _params_error(error: BaseException) -> str:
    """What is wrong with parameters, in a line, without repeating their values (a key may be among them)."""
    if isinstance(error, cattrs.BaseValidationError):
        return "; ".join(cattrs.transform_error(error))
    return type(error).__name__
