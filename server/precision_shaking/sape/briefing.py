"""What planner and lead are told: their inputs, in sessions and where prompts are optimised. Pure."""

from __future__ import annotations

from dorpo.rendering import MAX_WHOLE_LINES
from precision_shaking.sape.excerpts import excerpt_of
from precision_shaking.sape.setbacks import in_short, setback_inputs
from precision_shaking.sape.vocabulary import Setback


def planner_inputs(request: str, script: str, max_whole_lines: int = MAX_WHOLE_LINES) -> dict[str, str]:
    """The planner's; a long script is excerpted by what is requested."""
    shown = excerpt_of(script, request, max_whole_lines)
    return {"change_request": request, "current_script": shown, "goal": request}


def lead_inputs(
    request: str,
    step: str,
    script: str,
    setback: Setback | None,
    max_whole_lines: int = MAX_WHOLE_LINES,
) -> dict[str, str]:
    """The lead's; a long script is excerpted by step, feedback or error, and request."""
    words = "\n".join([step, setback.words if setback else "", request])
    shown = excerpt_of(script, words, max_whole_lines)
    inputs = {"change_request": request, "step": step, "current_script": shown}
    return inputs | setback_inputs(in_short(setback, script, max_whole_lines))
