"""The wire contract with an editor: every message of ours, once; `extension/src/protocol.ts` mirrors it.

All methods are named here; the messages about sessions that broke off are in `protocol_resuming`. Names are
snake_case here and camelCase on the wire; inside a session event the engine's own stay as they are. Of each
message a sample lies under `tests/protocol/`, which both test suites read.
"""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from precision_shaking.sape.vocabulary import Help, Verdict

# Requests of the client
INSTANCES = "precisionShaking/instances"
START_SESSION = "precisionShaking/startSession"
ANSWER = "precisionShaking/answer"
HELP = "precisionShaking/help"
CORRECT = "precisionShaking/correct"
STOP_SESSION = "precisionShaking/stopSession"
OPEN_SESSIONS = "precisionShaking/openSessions"
RESUME_SESSION = "precisionShaking/resumeSession"
ABANDON_SESSION = "precisionShaking/abandonSession"
START_TRAINING = "precisionShaking/startTraining"
MAKE_WORKER = "precisionShaking/makeWorker"
DATASET_STATS = "precisionShaking/datasetStats"

# Notifications of the server
SESSION_EVENT = "precisionShaking/sessionEvent"
PROPOSAL = "precisionShaking/proposal"
NOTIFICATIONS = (SESSION_EVENT, PROPOSAL)

# Requests of the server
API_KEY = "precisionShaking/apiKey"


@frozen
class Nothing:
    """The parameters or the result of a message that needs none: `{}`."""


@frozen
class InstancesParams:
    """`instances`: which SAPE instances fit an open document."""

    uri: str


@frozen
class OfferedInstance:
    """An instance that fits.

    Attributes:
        title: What it does, in a few words.
        source: `shipped`, or the file that declares it.
        files: Where the user may choose the files of a session: those it begins with unless others are named.
    """

    name: str
    title: str
    source: str
    files: tuple[str, ...] = ()


@frozen
class InstancesResult:
    """The answer to `instances`: the one that a session is of unless another is named comes first."""

    instances: tuple[OfferedInstance, ...]


@frozen
class StartSessionParams:
    """`startSession`: begin a session on an open document. Answered when the engine has begun.

    Attributes:
        uri: The document's URI; it may be untitled.
        request: What should change, in the user's words.
        instance: Name of the SAPE instance; None for the one that the settings name.
        files: Further files that an instance of several files may change; without any, those that are open.
    """

    uri: str
    request: str
    instance: str | None = None
    files: tuple[str, ...] = ()


@frozen
class StartSessionResult:
    """The answer to `startSession`."""

    session: str


@frozen
class EditedFile:
    """A proposed file as the user left it."""

    uri: str
    text: str


@frozen
class AnswerParams:
    """`answer`: what the user says about a proposal.

    Attributes:
        attempt: The proposal's attempt; an answer to an older one is refused.
        verdict: Which button was pressed; None lets the feedback analyzer read `words`.
        words: The user's feedback, possibly empty next to a verdict.
        proposed: The right side of the diff as the user left it, when they changed it.
        files: The same for a proposal of several files: those that the user changed.
    """

    session: str
    attempt: str
    verdict: Verdict | None = None
    words: str = ""
    proposed: str | None = None
    files: tuple[EditedFile, ...] = ()


@frozen
class AnswerResult:
    """The answer to `answer`.

    Attributes:
        applied: Whether the document now holds the accepted text. False for every verdict but `accepted`.
        message: One sentence for the user; empty when there is nothing to say.
    """

    applied: bool
    message: str = ""


@frozen
class HelpParams:
    """`help`: how to go on after every teacher failed at a step.

    Attributes:
        script: The user's own solution of the step, when they wrote one; the choice then says nothing. Where
            the document does not take it, it is refused, and `help_needed` comes again with the texts of now.
    """

    session: str
    choice: Help
    script: str | None = None


@frozen
class CorrectParams:
    """`correct`: the user's words about an attempt were misread. It works after the session's end too.

    Only the dataset changes: a running session goes on as it is.

    Attributes:
        attempt: What the words were about.
        verdict: What they meant.
    """

    session: str
    attempt: str
    verdict: Verdict


@frozen
class StopSessionParams:
    """`stopSession`: end the session; its open proposal is never a label."""

    session: str


@frozen
class StartTrainingParams:
    """`startTraining`: train the student on the dataset. Answered when the training has ended.

    Cancelling the request, or its progress, stops the trainer after it has saved what it learned.

    Attributes:
        work_done_token: Where the client wants progress; without it the server opens a progress of its own.
    """

    work_done_token: str | int | None = None


@frozen
class StartTrainingResult:
    """The answer to `startTraining`.

    Attributes:
        status: `finished` or `cancelled`.
        output: The folder that holds the adapter.
        metrics: What the trainer measured `before` and `after`; either may be missing when it was cancelled.
    """

    status: str
    output: str
    metrics: dict[str, Any] = field(factory=dict)


@frozen
class MakeWorkerParams:
    """`makeWorker`: make a model of what was learned that a session's worker can ask. Can be cancelled.

    Attributes:
        training: The folder that a training wrote; None for the last one that learned anything.
        work_done_token: As in `startTraining`.
    """

    training: str | None = None
    work_done_token: str | int | None = None


@frozen
class MakeWorkerResult:
    """The answer to `makeWorker`; `worker` is the model, as the setting of that name wants it."""

    worker: str


@frozen
class DatasetStatsResult:
    """The answer to `datasetStats`.

    Attributes:
        rows: Rows that have a chosen text and can be trained on.
        open_rows: Rows whose step has not been accepted yet.
        by_reason: Rows by the reason of their rejection.
        by_teacher: Rows by the teacher that wrote the chosen text.
    """

    path: str
    sessions: int
    steps: int
    attempts: int
    rows: int
    open_rows: int
    with_rejected: int
    with_soft_labels: int
    by_reason: dict[str, int]
    by_teacher: dict[str, int]
    size_bytes: int


@frozen
class SessionEventParams:
    """`sessionEvent`: something happened in a session.

    Attributes:
        event: The engine's event as it is: `kind` and its fields in snake_case (`sape/events.py`).
    """

    session: str
    uri: str
    event: dict[str, Any]


@frozen
class ProposedFile:
    """A file that a proposal of several files changes.

    Attributes:
        path: Its path in the workspace.
        base: Its left side; None for a file that is new or empty.
        proposed: Its right side.
    """

    uri: str
    path: str
    base: str | None
    proposed: str


@frozen
class ProposalParams:
    """`proposal`: a script waits for the user's answer; the same attempt may come again with another base.

    Attributes:
        step: Index of the step, from 0, of `steps` in the plan.
        cycle: Cycle within the step, from 1.
        base: The left side of the diff: what the document held when the proposal was made, or holds now.
        proposed: The right side of the diff.
        outcome: How the script's execution ended (`vocabulary.Outcome`).
        output: What it printed.
        unclear: The user's words could not be read as a verdict: please use a button.
        warnings: Sentences on what the script holds that a diff does not show.
        files: Of an instance of several files, those that change; `base` and `proposed` are all in one text.
    """

    session: str
    uri: str
    attempt: str
    step: int
    steps: int
    cycle: int
    base: str
    proposed: str
    reasoning: str
    teacher: str
    outcome: str
    output: str
    unclear: bool
    warnings: tuple[str, ...] = ()
    files: tuple[ProposedFile, ...] = ()


@frozen
class ApiKeyParams:
    """`apiKey`: the server asks for a teacher's key, which is kept in the editor's secret storage."""

    teacher: str


@frozen
class ApiKeyResult:
    """The answer to `apiKey`; None when the user keeps no key for this teacher."""

    key: str | None
