"""Print a dataset as JSON: the view `dorpo` as any SQLite tool sees it, soft labels checked, and trainings.

Run: python tests/e2e/read_dataset.py FILE
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path

from dorpo.softlabels import agrees, decode
from dorpo.store import Store


def read(path: Path) -> dict[str, list[dict]]:
    """Rows and trainings in the order in which they were written."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute("SELECT * FROM dorpo ORDER BY created_at, uid")]
    trainings = [dict(row) for row in connection.execute("SELECT * FROM training ORDER BY created_at")]
    connection.close()
    with Store.open(path, create=False) as store:
        agreements = {row.uid: _agrees(row.chosen_soft_labels, row.chosen) for row in store.rows()}
    checked = [{**row, "soft_labels_agree": agreements[row["uid"]]} for row in rows]
    return {"rows": checked, "trainings": trainings}


def _agrees(soft_labels: bytes | None, text: str) -> bool:
    return soft_labels is not None and agrees(decode(soft_labels), text)


if __name__ == "__main__":
    json.dump(read(Path(sys.argv[1]).resolve()), sys.stdout)
