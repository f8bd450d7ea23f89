"""Which rows of the dataset a student is measured on: first of all those that its training has not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from dorpo.evaluation.origin import Origin
from dorpo.training.request import TrainingRefusedError

if TYPE_CHECKING:
    from dorpo.batches import Group
    from dorpo.training.plan import TrainingPlan

HELD_OUT, SINCE = "held-out rows", "rows harvested since"
TRAINED_ON, ALL = "training rows", "all rows"


@frozen(kw_only=True)
class MeasuredRows:
    """The prompts that are measured.

    Attributes:
        groups: All of them.
        on: Which these are, for the report: held out by the training, harvested since, both, trained on, or
            all where nothing was trained.
        since: How many of them are of sessions harvested since.
        foreign: Whether the dataset has no session that the training knew.
    """

    groups: Sequence[Group]
    on: str
    since: int = 0
    foreign: bool = False

    def notes(self, origin: Origin | None, fingerprint: str) -> Iterator[str]:
        """What a reader has to know about them.

        Args:
            origin: Of what is measured beside the bare student, if anything is.
            fingerprint: Of the dataset's rows now.
        """
        if origin is None:
            return
        if origin.held_out is None:
            yield (
                "The training did not write down which sessions it saw: they are guessed from seed and share."
            )
        if self.since:
            yield (
                f"Prompts that the training held out: {len(self.groups) - self.since}; "
                f"of sessions harvested since: {self.since}."
            )
        elif origin.fingerprint not in (None, fingerprint):
            yield f"The dataset has changed since the training; {self._in_spite_of_that(origin)}."
        if self.foreign:
            yield "The dataset has none of the sessions that the training knew: it may be another one."

    def _in_spite_of_that(self, origin: Origin) -> str:
        if origin.trained is not None:
            return "as it has no new session, the same prompts are measured, as they are labelled now"
        return "only what it held out is measured" if self.on == HELD_OUT else "all of it is measured"


def of_training(plan: TrainingPlan, *, planned: bool) -> MeasuredRows:
    """What a training of this plan holds out.

    Args:
        plan: The training's, as it was or would be.
        planned: Whether there is such a training at all.
    """
    nothing_trained = TRAINED_ON if planned else ALL
    return MeasuredRows(groups=plan.measured, on=HELD_OUT if plan.held_out else nothing_trained)


def of_origin(
    groups: Sequence[Group], sessions: Mapping[str, str], origin: Origin, held_out: frozenset[str]
) -> MeasuredRows:
    """What a training did not see, or all rows where it saw everything.

    Args:
        groups: The dataset's, as far as the student can read them.
        sessions: The session of every row, by the row's uid.
        origin: The training; where it does not tell what it was trained on, only what it held out counts.
        held_out: The sessions it held out.

    Raises:
        TrainingRefusedError: It held out sessions, and nothing that it did not see is left.
    """
    kept = [group for group in groups if group.session in held_out]
    trained = origin.trained
    # A group can be of several sessions that ask for the same and got the same answer.
    since = [
        group
        for group in groups
        if trained is not None
        and group.session not in held_out
        and trained.isdisjoint(sessions[row] for row in group.rows)
    ]
    if not kept and not since:
        if held_out:
            raise TrainingRefusedError(
                "The dataset has none of the rows that the training held out: give the dataset it "
                "was trained on, or train it again."
            )
        return MeasuredRows(groups=groups, on=TRAINED_ON)
    on = " and ".join(name for name, found in ((HELD_OUT, kept), (SINCE, since)) if found)
    known = held_out | (trained or frozenset())
    return MeasuredRows(
        groups=[*kept, *since], on=on, since=len(since), foreign=known.isdisjoint(sessions.values())
    )
