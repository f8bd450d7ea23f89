"""Where a session goes from each of its places: the edges between the agents, as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen


class Place(StrEnum):
    """What can come next: an agent, an execution, or the user."""

    PLANNER = "planner"
    LEAD = "lead"
    WORKER = "worker"
    EXECUTE = "execute"
    USER = "user"
    ANALYZER = "analyzer"


@frozen
class Routes:
    """The edges: from an agent or a happening (the attribute) to the place that follows.

    Attributes:
        request: From the change request; to the lead, it is the plan's only step.
        worker: From a readable answer; to the user, nothing is executed.
        error: From an execution that failed; to the user, it is no row and they decide.
        words: From the user's own words; to the user, they are asked for a button.
        redo: From a redo; to the worker, the step's instruction stays. Likewise `further_edit` and `error`.
    """

    request: Place = Place.PLANNER
    planner: Place = Place.LEAD
    lead: Place = Place.WORKER
    worker: Place = Place.EXECUTE
    execute: Place = Place.USER
    error: Place = Place.LEAD
    words: Place = Place.ANALYZER
    redo: Place = Place.LEAD
    further_edit: Place = Place.LEAD


# The edges that the workflow can walk.
WALKABLE: Mapping[str, tuple[Place, ...]] = {
    "request": (Place.PLANNER, Place.LEAD),
    "planner": (Place.LEAD,),
    "lead": (Place.WORKER,),
    "worker": (Place.EXECUTE, Place.USER),
    "execute": (Place.USER,),
    "error": (Place.LEAD, Place.WORKER, Place.USER),
    "words": (Place.ANALYZER, Place.USER),
    "redo": (Place.LEAD, Place.WORKER),
    "further_edit": (Place.LEAD, Place.WORKER),
}
