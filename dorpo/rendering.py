"""How a worker is asked and how its answer is written: the one format of teachers, dataset and student.

The student is trained on exactly the messages it will later be asked with, so both sides call these
functions. The field markers are the ones of DSPy's ChatAdapter; code is never put inside JSON,
which small models break.
"""

from __future__ import annotations

from dorpo.markers import MARKER, Answer, UnreadableAnswerError, clean_code, fenced, marker, without_blank_end
from dorpo.region_rendering import REGION_SYSTEM_PROMPT, RegionRequest, is_region_prompt

__all__ = [
    "MAX_WHOLE_LINES",
    "SYSTEM_PROMPT",
    "Answer",
    "RegionRequest",
    "UnreadableAnswerError",
    "parse_response",
    "read_answer",
    "region_request",
    "render_answer",
    "render_difference",
    "render_prompt",
    "render_response",
    "to_messages",
]

# Longer documents are changed by regions, see `region_request`.
MAX_WHOLE_LINES = 350

# Chosen among twenty wordings by what a model of 135M parameters makes of them; larger ones follow any. Rows
# keep the prompt they were made with, so changing this gives a student two formats to learn.
SYSTEM_PROMPT = (
    "You are a programmer who changes scripts. Answer with [[ ## reasoning ## ]], then [[ ## script ## ]] "
    "with the whole changed script, then [[ ## completed ## ]]."
)

_REQUEST = "Write the whole changed script."


def region_request(
    instruction: str, script: str, max_whole_lines: int = MAX_WHOLE_LINES
) -> RegionRequest | None:
    """How a document that is too long to be written whole is asked about; None when it is written whole.

    That depends on nothing but these arguments, so that teacher, dataset and student agree. A long document
    without regions is written whole too.
    """
    if script.count("\n") <= max_whole_lines:
        return None
    return RegionRequest.of(instruction, script, max_whole_lines)


def render_prompt(instruction: str, script: str, max_whole_lines: int = MAX_WHOLE_LINES) -> str:
    """The user message that asks for a changed script; it is also the `prompt` text of a row."""
    request = region_request(instruction, script, max_whole_lines)
    if request is not None:
        return request.prompt()
    return (
        f"{marker('current_script')}\n{fenced(without_blank_end(script))}\n\n"
        f"{marker('instruction')}\n{instruction.strip()}\n\n"
        f"{_REQUEST}"
    )


def render_answer(reasoning: str, script: str, base: str, max_whole_lines: int = MAX_WHOLE_LINES) -> str:
    """The answer to a prompt about `base` that makes this script of it.

    Where the prompt asks for regions and they cannot say the difference, it is the whole script.
    """
    request = region_request("", base, max_whole_lines)
    answer = request.answer(reasoning, script) if request else None
    return answer or render_response(reasoning, script)


def render_difference(script: str, base: str, max_whole_lines: int = MAX_WHOLE_LINES) -> str:
    """A script for somebody who has `base`: its changed regions, or all of it where it is written whole."""
    request = region_request("", base, max_whole_lines)
    return (request.difference(script) if request else None) or script


def read_answer(
    text: str,
    instruction: str,
    base: str,
    max_whole_lines: int = MAX_WHOLE_LINES,
    *,
    ended: bool = False,
) -> Answer:
    """Read the answer to the prompt of `instruction` and `base`; `ended` as in `parse_response`.

    Raises:
        UnreadableAnswerError: It is not in the asked form, or its regions do not fit the document.
    """
    request = region_request(instruction, base, max_whole_lines)
    return request.read(text, ended=ended) if request else parse_response(text, ended=ended)


def to_messages(prompt: str) -> list[dict[str, str]]:
    """The chat that a worker, and later the student, is called with: system, then user."""
    system = REGION_SYSTEM_PROMPT if is_region_prompt(prompt) else SYSTEM_PROMPT
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]


def render_response(reasoning: str, script: str) -> str:
    """The answer as a well-behaved worker writes it; `parse_response` reads it back."""
    return (
        f"{marker('reasoning')}\n{reasoning.strip()}\n\n"
        f"{marker('script')}\n{without_blank_end(script)}\n\n"
        f"{marker('completed')}"
    )


def parse_response(text: str, *, ended: bool = False) -> Answer:
    """Read a worker's answer.

    The script reaches from the first `script` marker to the last `completed` marker, so that a script which
    itself contains markers survives. One code fence around the whole script is taken off.

    Args:
        text: The answer exactly as the model wrote it.
        ended: The model is known to have stopped by itself (finish reason "stop"): a missing `completed`
            marker then means that it was forgotten, not that the answer was cut off.

    Raises:
        UnreadableAnswerError: A field is missing or empty, or the answer was cut off.
    """
    markers = list(MARKER.finditer(text))
    reasoning = next((m for m in markers if m[1] == "reasoning"), None)
    if reasoning is None:
        raise UnreadableAnswerError("The answer has no reasoning field.")
    script = next((m for m in markers if m[1] == "script" and m.start() > reasoning.start()), None)
    if script is None:
        raise UnreadableAnswerError("The answer has no script field after its reasoning.")
    ends = [m for m in markers if m[1] == "completed" and m.start() > script.start()]
    completed = ends[-1] if ends else None
    if completed is None and not ended:
        raise UnreadableAnswerError("The answer was cut off before its script was complete.")
    thought = text[reasoning.end() : script.start()].strip()
    code = clean_code(text[script.end() : completed.start() if completed else len(text)])
    if not thought:
        raise UnreadableAnswerError("The answer's reasoning is empty.")
    if not code:
        raise UnreadableAnswerError("The answer's script is empty.")
    return Answer(thought, code + "\n")
