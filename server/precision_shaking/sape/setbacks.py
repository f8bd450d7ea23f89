"""How the lead and the worker are told what became of the attempt before."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from dorpo.rendering import render_difference
from precision_shaking.sape.vocabulary import Reason, Setback

_NOT_APPLIED = "It was not applied: the current script is unchanged."
_WHAT_HAPPENED = {
    Reason.ERROR: f"The attempted script was run and failed. {_NOT_APPLIED}",
    Reason.REDO: f"The user rejected the attempted script. {_NOT_APPLIED}",
    Reason.FURTHER_EDIT: "The user kept the attempt, it is the current script now, and wants more changed.",
}


def in_short(setback: Setback | None, script: str, max_whole_lines: int) -> Setback | None:
    """The setback with only the regions that its attempt changed, where the script is a long one.

    A further edit's attempt is the script itself by now.
    """
    if setback is None or setback.reason is Reason.FURTHER_EDIT:
        return setback
    return evolve(setback, script=render_difference(setback.script, script, max_whole_lines))


def repeats(script: str, rejected: Iterable[str]) -> bool:
    """Whether a script is one of these again, but for spaces and empty lines where nobody sees them."""
    return _visible(script) in map(_visible, rejected)


def _visible(script: str) -> list[str]:
    # Indentation and empty lines in between are kept: they can be what the user asked for.
    return [line.rstrip() for line in script.rstrip().split("\n")]


def setback_inputs(setback: Setback | None) -> dict[str, str]:
    """The lead's inputs that speak of the attempt before; empty ones when there was none."""
    if setback is None:
        return {"what_happened": "", "attempted_script": ""}
    said = "The error" if setback.reason is Reason.ERROR else "The user says"
    happened = _WHAT_HAPPENED[setback.reason]
    if setback.words.strip():
        happened += f" {said}: {setback.words.strip()}"
    attempted = "" if setback.reason is Reason.FURTHER_EDIT else setback.script
    return {"what_happened": happened, "attempted_script": attempted}


def setback_block(setback: Setback | None) -> str:
    """What the worker is told of the attempt before, below its instruction."""
    if setback is None:
        return ""
    failed, lines = setback.reason is Reason.ERROR, ["", ""]
    # After a further edit the attempt is the current script itself.
    if setback.reason is not Reason.FURTHER_EDIT:
        lines += ["This attempt failed:" if failed else "This attempt was rejected:", "<attempt>"]
        lines += [setback.script.rstrip("\n"), "</attempt>"]
    if setback.words.strip():
        tag = "error" if failed else "feedback"
        lines += [f"<{tag}>", setback.words.strip(), f"</{tag}>"]
    return "\n".join(lines).rstrip()
