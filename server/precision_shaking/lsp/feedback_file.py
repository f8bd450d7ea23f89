"""Free text without an input box: a file that the server opens, the user writes into, and saving sends.

The protocol has no text input. A file outside the workspace and the save notification exist everywhere. What
stands above the line of scissors is the user's; below it the proposal can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

from precision_shaking.merge import split
from precision_shaking.sape.vocabulary import Verdict

SCISSORS = "---------- write above this line and save ----------"

# Said alone, these words are a button.
_BUTTONS = {
    "accept": Verdict.ACCEPTED,
    "redo": Verdict.REDO,
    "further edit": Verdict.FURTHER_EDIT,
}


def request_page(document: str) -> str:
    """The page that asks for a change request."""
    return f"\n\n{SCISSORS}\n\nWhat should change in {document}? Saving starts the session.\n"


def proposal_page(step: str, reasoning: str, changes: Mapping[str, tuple[str, str]], output: str) -> str:
    """The page that shows a proposal and asks what the user thinks of it.

    Args:
        step: What the step is to do.
        reasoning: The worker's.
        changes: What each file is and what it becomes, by how the page is to call it.
        output: What running it printed.
    """
    from difflib import unified_diff

    diffs = [
        "".join(unified_diff(split(old), split(new), name if old else "/dev/null", f"{name} as proposed"))
        for name, (old, new) in changes.items()
    ]
    several = [f"Files: {', '.join(changes)}", ""] if len(changes) > 1 else []
    return "\n".join(
        [
            "",
            "",
            SCISSORS,
            "",
            "Say in your own words what you think of the proposal, or only: accept, redo, further edit.",
            "",
            f"Step: {step}",
            f"Reasoning: {reasoning}",
            "",
            *several,
            *diffs,
            "It printed:",
            "",
            output or "(nothing)",
            "",
        ]
    )


def script_in(path: Path) -> str:
    """What a page holds on which the user does a step by hand."""
    return path.read_text("utf-8")


def words_in(path: Path) -> str:
    """What the user wrote into a page."""
    return path.read_text("utf-8").split(SCISSORS, 1)[0].strip()


def button_of(words: str) -> Verdict | None:
    """The verdict, when the words are nothing but a button's name."""
    return _BUTTONS.get(words.lower().rstrip(".!"))


@define
class FeedbackFiles:
    """The files of one server, in a private folder that goes away with it.

    What a saved file means is looked up by its path: (`request`, document's URI), (`answer`, session) or
    (`by_hand`, session).
    """

    _folder: Path | None = None
    _places: dict[str, Path] = field(factory=dict)
    _meaning: dict[Path, tuple[str, str]] = field(factory=dict)

    def write(self, name: str, page: str, kind: str, about: str) -> Path:
        """Write a page; saving it means `kind` about `about`."""
        path = self._place(about) / name
        path.write_text(page, "utf-8")
        self._meaning[path] = (kind, about)
        return path

    def meaning(self, path: Path) -> tuple[str, str] | None:
        """What saving this file means; None when it is not one of ours."""
        return self._meaning.get(path)

    def forget(self, path: Path) -> None:
        """The file has been answered: saving it again means nothing."""
        self._meaning.pop(path, None)

    def clear(self) -> None:
        """Delete them all."""
        if self._folder is not None:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._places.clear()
        self._meaning.clear()

    def _place(self, about: str) -> Path:
        """A folder for whatever pages are about, so that none takes the place of another session's."""
        if self._folder is None:
            # As in `clear`: an editor with our client never needs these files, nor the time to load this.
            import tempfile

            self._folder = Path(tempfile.mkdtemp(prefix="precision-shaking-")).resolve()
        if about not in self._places:
            self._places[about] = self._folder / str(len(self._places))
            self._places[about].mkdir()
        return self._places[about]
