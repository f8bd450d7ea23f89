"""The DORPO dataset in one SQLite file; the rest of the product sees these names only."""

from dorpo.paths import default_path
from dorpo.store.calls import AGENTS
from dorpo.store.dataset import Store
from dorpo.store.errors import StoreError
from dorpo.store.harvest import HarvestedAttempt, HarvestedStep
from dorpo.store.journals import AttemptRun, Beginning
from dorpo.store.labelling import Unlabelled, UnlabelledText
from dorpo.store.records import AgentCall, AttemptRecord, Row, Said, SessionSummary, Stats, Usage

__all__ = [
    "AGENTS",
    "AgentCall",
    "AttemptRecord",
    "AttemptRun",
    "Beginning",
    "HarvestedAttempt",
    "HarvestedStep",
    "Row",
    "Said",
    "SessionSummary",
    "Stats",
    "Store",
    "StoreError",
    "Unlabelled",
    "UnlabelledText",
    "Usage",
    "default_path",
]
