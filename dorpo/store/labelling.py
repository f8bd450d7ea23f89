"""Soft labels in the file: kept with their attempt, or given later to a text that has none."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from dorpo.softlabels import TokenScore, encode
from dorpo.store.reading import checksum
from dorpo.store.tables import Tables, now

# Texts that are in rows, or will be when their step is accepted. Those of abandoned steps teach nobody.
_UNLABELLED = """
SELECT attempt.uid,
  (SELECT workers.teacher FROM attempt AS workers
   WHERE workers.step_id = attempt.step_id AND workers.author = 'worker' AND workers.id <= attempt.id
   ORDER BY workers.id DESC LIMIT 1)
FROM attempt
JOIN step ON step.id = attempt.step_id AND step.prompt IS NOT NULL AND step.status != 'abandoned'
WHERE (?1 IS NULL OR step.session_id = ?1)
  AND attempt.id NOT IN (SELECT attempt_id FROM soft_labels)
  AND (attempt.id IN (SELECT rejected_id FROM pair) OR attempt.id IN (SELECT chosen_id FROM pair))
ORDER BY attempt.id
"""
_TEXT = """
SELECT prompt.body, response.body FROM attempt
JOIN step ON step.id = attempt.step_id
JOIN text AS prompt ON prompt.id = step.prompt
JOIN text AS response ON response.id = attempt.response
WHERE attempt.uid = ? AND attempt.id NOT IN (SELECT attempt_id FROM soft_labels)
"""


@frozen
class Unlabelled:
    """An attempt without soft labels.

    Attributes:
        teacher: Who wrote the text, or whose text the user changed; None where no teacher's came before.
    """

    uid: str
    teacher: str | None


@frozen
class UnlabelledText:
    """A response without soft labels; `prompt` is the user message that it answers."""

    prompt: str
    response: str


@frozen
class PackedLabels:
    """Soft labels as they are stored, and the model whose they are."""

    tokens: int
    data: bytes
    teacher: str

    @classmethod
    def of(cls, scores: Sequence[TokenScore], teacher: str) -> PackedLabels:
        """Pack scores; before a lock is taken, because it takes milliseconds that others would wait for."""
        return cls(len(scores), encode(scores), teacher)


def insert_labels(tables: Tables, attempt_id: int, labels: PackedLabels) -> bool:
    """Keep an attempt's soft labels, inside a transaction of the caller; False where it has some."""
    if tables.one("SELECT 1 FROM soft_labels WHERE attempt_id = ?", attempt_id):
        return False
    tables.insert(
        "soft_labels",
        attempt_id=attempt_id,
        tokens=labels.tokens,
        sha256=checksum(labels.data),
        data=labels.data,
        teacher=labels.teacher,
    )
    rows = "UPDATE pair SET updated_at = ?1 WHERE rejected_id = ?2 OR chosen_id = ?2"
    tables.run(rows, now(), attempt_id)
    return True


def find_unlabelled(tables: Tables, session: int | None) -> list[Unlabelled]:
    """The attempts that lack soft labels, of one session or of all, the oldest first."""
    return [Unlabelled(*found) for found in tables.all(_UNLABELLED, session)]


def read_unlabelled(tables: Tables, attempt_uid: str) -> UnlabelledText | None:
    """An attempt's prompt and response; None where it has soft labels by now, or was deleted."""
    found = tables.one(_TEXT, attempt_uid)
    return UnlabelledText(*found) if found else None
