"""The DORPO dataset in one SQLite file; the rest of the product sees these names only."""

from dorpo.paths import default_path
from dorpo.store.dataset import Store
from dorpo.store.errors import StoreError
from dorpo.store.records import AttemptRecord, Row, Stats

__all__ = ["AttemptRecord", "Row", "Stats", "Store", "StoreError", "default_path"]
