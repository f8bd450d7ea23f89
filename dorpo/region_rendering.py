"""How a worker is asked to change a long document, and how the regions that it answers with are read.

It sees the outline of the whole document and the code of some regions, first of those that the instruction
names. What it was not shown it cannot rewrite.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from attrs import frozen

from dorpo.markers import MARKER, Answer, UnreadableAnswerError, clean_code, fenced, marker
from dorpo.regions import Region, find_regions, lines_of
from dorpo.relevance import AROUND, apart, by_relevance
from dorpo.splicing import Change, SpliceError, difference, splice

# Rows keep the prompt they were made with, so changing this gives a student two formats to learn.
REGION_SYSTEM_PROMPT = (
    "You are a programmer who changes regions of a long script. Answer with [[ ## reasoning ## ]], then "
    "[[ ## region NAME ## ]] with the whole new code of each region that must change, then "
    "[[ ## completed ## ]]. Put code that is new under [[ ## region NEW after NAME ## ]], and delete with "
    "[[ ## region DELETE NAME ## ]]. Rewrite only regions whose code is shown."
)
_REQUEST = "Write the regions that change, and no others."
_OUTLINE = "outline"
_NEW, _DELETE = "NEW after ", "DELETE "

_REGION = re.compile(r"^\[\[ ## region (\S[^\n]*?) ## \]\][ \t\r]*$", re.MULTILINE)
_FENCE_OPEN = re.compile(r"\s*^(`{3,}|~{3,})[^`\n]*\n", re.MULTILINE)


@frozen
class RegionRequest:
    """A question about a long document: which regions it has, and which of them are shown.

    Attributes:
        regions: All that can be named.
        shown: Those whose code is in the prompt; what is within them is shown too.
    """

    instruction: str
    script: str
    regions: tuple[Region, ...]
    shown: tuple[Region, ...]

    @classmethod
    def of(cls, instruction: str, script: str, max_lines: int) -> Self | None:
        """The question; None when the document has no regions. About `max_lines` of it are shown."""
        regions = find_regions(script)
        if not regions:
            return None
        return cls(instruction, script, regions, tuple(_chosen(instruction, script, regions, max_lines)))

    @property
    def names(self) -> tuple[str, ...]:
        """What can be deleted, and have new code put after it."""
        return tuple(region.name for region in self.regions)

    @property
    def rewritable(self) -> tuple[str, ...]:
        """What can be rewritten."""
        return tuple(
            region.name
            for region in self.regions
            if region.start == region.end or any(outer.contains(region) for outer in self.shown)
        )

    def code(self) -> dict[str, str]:
        """The code that is shown, by the names of its regions."""
        lines = lines_of(self.script)
        return {
            region.name: "".join(lines[region.start : region.end]).removesuffix("\n") for region in self.shown
        }

    def prompt(self) -> str:
        """The user message that asks it."""
        rewritable = set(self.rewritable)
        outline = [
            f"{region.name}: {_counted(region.end - region.start)}"
            + ("" if region.name in rewritable else ", not shown")
            for region in self.regions
        ]
        fields = [
            "\n".join([marker(_OUTLINE), *outline]),
            *(f"{marker(f'region {name}')}\n{fenced(text)}" for name, text in self.code().items()),
            f"{marker('instruction')}\n{self.instruction.strip()}",
            _REQUEST,
        ]
        return "\n\n".join(fields)

    def answer(self, reasoning: str, script: str) -> str | None:
        """The answer that makes this script of the document; None when regions cannot say it."""
        regions = self.difference(script)
        if regions is None:
            return None
        return f"{marker('reasoning')}\n{reasoning.strip()}\n\n{regions}\n\n{marker('completed')}"

    def difference(self, script: str) -> str | None:
        """The regions of such an answer."""
        changes = difference(self.script, script)
        return None if changes is None else render_changes(changes)

    def read(self, text: str, *, ended: bool) -> Answer:
        """Read an answer, and put its regions into the document.

        Raises:
            UnreadableAnswerError: It is not in the asked form, or does not fit the document.
        """
        reasoning, changes = parse_regions(text, ended=ended)
        known, rewritable = set(self.names), set(self.rewritable)
        for change in changes:
            hidden = change.name in known and change.name not in rewritable
            if hidden and change.code is not None and not change.new:
                raise UnreadableAnswerError(
                    f"The answer rewrites {change.name!r} without having seen its code."
                )
        try:
            script = splice(self.script, changes)
        except SpliceError as error:
            raise UnreadableAnswerError(str(error)) from error
        return Answer(reasoning, script.rstrip("\n") + "\n")


def is_region_prompt(prompt: str) -> bool:
    """Whether this prompt asks for regions."""
    return prompt.startswith(marker(_OUTLINE) + "\n")


def render_changes(changes: Iterable[Change]) -> str:
    """Changes as the fields of an answer."""
    fields = []
    for change in changes:
        if change.code is None:
            fields.append(marker(f"region {_DELETE}{change.name}"))
            continue
        # A fence keeps apart what the code says itself from what is said of it.
        odd = MARKER.search(change.code) or _REGION.search(change.code) or _FENCE_OPEN.match(change.code)
        code = fenced(change.code) if odd else change.code
        fields.append(f"{marker(f'region {_NEW if change.new else str()}{change.name}')}\n{code}")
    return "\n\n".join(fields)


def parse_regions(text: str, *, ended: bool = False) -> tuple[str, list[Change]]:
    """The reasoning and the changes of an answer.

    Raises:
        UnreadableAnswerError: A field is missing or empty, or the answer was cut off.
    """
    reasoning = next((m for m in MARKER.finditer(text) if m[1] == "reasoning"), None)
    if reasoning is None:
        raise UnreadableAnswerError("The answer has no reasoning field.")
    first = _REGION.search(text, reasoning.end())
    if first is None:
        raise UnreadableAnswerError("The answer has no region after its reasoning.")
    thought = text[reasoning.end() : first.start()].strip()
    if not thought:
        raise UnreadableAnswerError("The answer's reasoning is empty.")
    ends = [m for m in MARKER.finditer(text, first.end()) if m[1] == "completed"]
    if not ends and not ended:
        raise UnreadableAnswerError("The answer was cut off before its regions were complete.")
    body = text[first.start() : ends[-1].start() if ends else len(text)]
    return thought, [_change(name, code) for name, code in _sections(body)]


def _sections(body: str) -> Iterator[tuple[str, str]]:
    """Names and code; what is inside a fence is code, whatever it looks like."""
    at = _REGION.match(body)
    while at is not None:
        start, following = at.end(), None
        fence = _FENCE_OPEN.match(body, start)
        if fence:
            for closing in re.finditer(rf"^{fence[1]}[ \t\r]*$", body[fence.end() :], re.MULTILINE):
                rest = fence.end() + closing.end()
                following = _REGION.search(body, rest)
                if not body[rest : following.start() if following else len(body)].strip():
                    break
            else:
                fence = None
        if not fence:
            following = _REGION.search(body, start)
        yield at[1], clean_code(body[start : following.start() if following else len(body)])
        at = following


def _change(name: str, code: str) -> Change:
    if name.startswith(_DELETE):
        name = name.removeprefix(_DELETE)
        if code:
            raise UnreadableAnswerError(f"The answer deletes {name!r}, and gives code for it.")
        return Change(name, None)
    if not code:
        raise UnreadableAnswerError(f"The answer gives no code for {name!r}.")
    if name.startswith(_NEW):
        return Change(name.removeprefix(_NEW), code, new=True)
    return Change(name, code)


def _counted(lines: int) -> str:
    return f"{lines} line" if lines == 1 else f"{lines} lines"


def _chosen(instruction: str, script: str, regions: Sequence[Region], max_lines: int) -> Iterator[Region]:
    """The most relevant ones; those that the instruction names are shown however long they are."""
    taken: list[Region] = []
    left = max_lines
    for found in by_relevance(instruction, script, regions, max_lines):
        length = found.region.end - found.region.start + AROUND
        if apart(found.region, taken) and (found.named or length <= left):
            taken.append(found.region)
            left -= length
    yield from sorted(taken, key=lambda region: region.start)
