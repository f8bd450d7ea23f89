"""What goes into the dataset and what comes out of it, as values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

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
        soft_labels: The teacher's own log-probabilities; None or empty when it gives none.
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
        chosen_labels_by: The model that gave the soft labels of the chosen response; None without them, and
            where an older version did not know.
        rejected_labels_by: The same for the rejected response.
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
    chosen_labels_by: str | None = None
    rejected_labels_by: str | None = None


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
        by_labeller: Complete rows whose chosen response has soft labels, by the model that gave them.
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
    by_labeller: Mapping[str, int]
    size_bytes: int
    path: Path


@frozen
class SessionSummary:
    """A session in a list of them.

    Attributes:
        created_at: When it began, ISO 8601 in UTC.
        ended_at: When it ended; None while it is open.
        document: As its editor names it.
        status: open, done, abandoned or crashed.
        rows: Complete rows that came out of it.
    """

    uid: str
    created_at: str
    ended_at: str | None
    document: str
    status: str
    steps: int
    rows: int


@frozen(kw_only=True)
class Usage:
    """What calls of agents took. A field that says whose they were is None where they differ.

    Attributes:
        session: Uid of their session.
        step: Their step; None for the planner's too, which belong to none.
        agent: planner, lead, worker or analyzer.
        teacher: Who was asked.
        seconds: Added up, although calls may overlap between sessions.
        cost_usd: Of the calls whose price was known, in US dollars; None when none was.
        unpriced_calls: Calls whose price was not known, failed ones among them.
    """

    session: str | None = None
    step: int | None = None
    agent: str | None = None
    teacher: str | None = None
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    cost_usd: float | None = None
    unpriced_calls: int = 0

    @property
    def words(self) -> str:
        """The sums for a person; money only where some was paid."""
        parts = [
            "1 call" if self.calls == 1 else f"{self.calls:,} calls",
            f"{self.input_tokens:,} tokens in",
            f"{self.output_tokens:,} out",
            f"{self.seconds:,.0f} s",
        ]
        if self.cost_usd:
            parts.append(f"${self.cost_usd:,.4f}" + (" or more" if self.unpriced_calls else ""))
        return ", ".join(parts)

    @classmethod
    def total(cls, parts: Iterable[Usage]) -> Self:
        """All of them together."""
        parts = list(parts)
        whose = {
            name: {getattr(part, name) for part in parts} for name in ("session", "step", "agent", "teacher")
        }
        prices = [part.cost_usd for part in parts if part.cost_usd is not None]
        return cls(
            **{name: values.pop() if len(values) == 1 else None for name, values in whose.items()},
            calls=sum(part.calls for part in parts),
            input_tokens=sum(part.input_tokens for part in parts),
            output_tokens=sum(part.output_tokens for part in parts),
            seconds=sum(part.seconds for part in parts),
            cost_usd=sum(prices) if prices else None,
            unpriced_calls=sum(part.unpriced_calls for part in parts),
        )


@frozen
class AgentCall:
    """A call of an agent that could be read, and what came of it.

    Attributes:
        request: The messages as role and content.
        response: The answer exactly as written.
        outcome: See `dorpo.store.calls`.
        step: None for the planner.
        cycle: None for the planner.
    """

    agent: str
    teacher: str
    request: Sequence[Mapping[str, str]]
    response: str
    outcome: str
    session: str
    step: int | None
    cycle: int | None


@frozen
class Said:
    """What a user said of an attempt, and the verdict that they themselves gave it."""

    words: str
    verdict: str
