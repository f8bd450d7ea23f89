"""What goes into the dataset and what comes out of it, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from dorpo.softlabels import TokenScore


@frozen(kw_only=True)
class AttemptRecord:
    """One answer to a step's prompt, by a worker or by the user.

    Attributes:
        uid: Its name for the outside world.
        cycle: Cycle within the step, 1 for the first.
        cause: Why it was made: first, error, redo, further_edit (the setback before it), or amended, by_hand
            (the user's own texts).
        instruction: What the lead asked for in this cycle.
        base_script: The script the instruction was applied to.
        response: The answer exactly as written; soft labels align with it.
        reasoning: The chain of thought in the response.
        script: The whole changed script.
        teacher: Name of the model, or of the user's own authorship.
        author: worker or user.
        finish_reason: Why the model stopped, in its provider's words.
        input_tokens: Tokens of the request.
        output_tokens: Tokens of the response.
        seconds: How long the teacher took.
        soft_labels: The teacher's log-probabilities; None or empty when it gives none.
    """

    uid: str
    cycle: int
    cause: str
    instruction: str
    base_script: str
    response: str
    reasoning: str
    script: str
    teacher: str
    author: str = "worker"
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    soft_labels: Sequence[TokenScore] | None = None


@frozen
class Row:
    """One complete record of the DORPO dataset.

    Attributes:
        uid: The row's name, as training runs remember it.
        session: Uid of the session it came from.
        step: Index of the step within the session, from 0.
        prompt: The user message of the step's first cycle, see `dorpo.rendering`.
        chosen: The accepted response.
        rejected: A response that was not accepted; None when the first was accepted.
        reason: error, redo, further_edit or amended; None without a rejected.
        teacher: Who wrote the chosen response.
        cycle: In which cycle.
        chosen_soft_labels: Encoded soft labels, see `dorpo.softlabels.decode`; None when there are none.
        rejected_soft_labels: The same for the rejected response.
    """

    uid: str
    session: str
    step: int
    prompt: str
    chosen: str
    rejected: str | None
    reason: str | None
    teacher: str
    cycle: int
    chosen_soft_labels: bytes | None
    rejected_soft_labels: bytes | None


@frozen(kw_only=True)
class Stats:
    """What a dataset holds.

    Attributes:
        rows: Complete rows: what training would see.
        open_rows: Rows without a chosen response, because their step is still open or was abandoned.
        with_rejected: Complete rows that have a rejected response.
        with_soft_labels: Complete rows whose chosen response has soft labels.
        by_reason: Complete rows with a rejected response, by why it was rejected.
        by_teacher: Complete rows, by who wrote the chosen response.
        size_bytes: Bytes on disk, the write-ahead log included.
    """

    sessions: int
    steps: int
    attempts: int
    rows: int
    open_rows: int
    with_rejected: int
    with_soft_labels: int
    by_reason: Mapping[str, int]
    by_teacher: Mapping[str, int]
    size_bytes: int
    path: Path
