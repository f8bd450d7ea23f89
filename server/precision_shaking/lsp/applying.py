"""Bringing a session's text into the editor's documents and files: all of them, or a reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING

from attrs import frozen

from precision_shaking.lsp.documents import normalise, plan_edits
from precision_shaking.lsp.editing import Change, apply, listed
from precision_shaking.lsp.places import Live, Place, standing
from precision_shaking.merge import merge

if TYPE_CHECKING:
    from precision_shaking.lsp.server import Server

# A document may change between our reading it and the editor's applying the edit: then once more.
_TRIES = 3


@frozen
class Written:
    """The session's text has arrived: the place holds `text` now."""

    text: str


@frozen
class NotWritten:
    """The place does not hold the text.

    Attributes:
        why: One sentence for the user.
        live: What the place holds.
        merged: What it would hold; where both sides changed the same lines, the proposal's.
    """

    why: str
    live: str
    merged: str


async def bring_in(server: Server, place: Place, base: str, wanted: str, label: str) -> Written | NotWritten:
    """Bring the changes base → wanted into the documents, as one edit and one step of the undo history.

    Args:
        server: Whose documents they are.
        place: Where the texts lie.
        base: The common ancestor of the wanted text and of what the place holds.
        wanted: The text to reach, unless a document was edited since: then the changes are merged.
        label: What the undo history calls it.

    Raises:
        RefusedError: A document is not open where it has to be, cannot be read, or cannot be in the text.
    """
    olds, news = place.files(base), place.files(wanted)
    refusal = ""
    for _ in range(_TRIES):
        now = place.read(server, {**olds, **news})
        texts, contested = _merged(olds, now, news)
        merged = place.text(texts)
        if contested:
            return NotWritten(_why_contested(place, contested), _text(place, now), merged)
        changes = _changes(server, now, texts, created=news.keys() - olds.keys())
        if not changes:
            return Written(merged)
        refusal = await apply(server, changes, label)
        if not refusal:
            return Written(merged)
        if place.read(server, now) == now:
            break
    return NotWritten(refusal, standing(server, place, now), merged)


def _merged(
    olds: Mapping[str, str], now: Mapping[str, Live], news: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Every file with both sides' changes, and the files in which those meet in the same lines."""
    merges = {
        name: merge(olds.get(name, ""), live.text, news.get(name, live.text)) for name, live in now.items()
    }
    texts = {name: done.text for name, done in merges.items()}
    return texts, [name for name, done in merges.items() if done.conflicts]


def _why_contested(place: Place, names: Sequence[str]) -> str:
    if place.several:
        return f"{listed(names)} changed in the same lines meanwhile."
    return "The document was changed in the same lines meanwhile."


def _changes(
    server: Server, now: Mapping[str, Live], texts: Mapping[str, str], created: Set[str]
) -> list[Change]:
    """What has to be done for the files to hold these texts; an empty file may have to be made, too."""
    changes = []
    for name, live in now.items():
        if texts[name] == live.text and (live.exists or name not in created):
            continue
        plan = plan_edits(live.source, texts[name], server.workspace.position_codec)
        if plan.edits or not live.exists:
            changes.append(Change(name, live, plan.edits, normalise(plan.expected)))
    return changes


def _text(place: Place, now: Mapping[str, Live]) -> str:
    return place.text({name: live.text for name, live in now.items()})
