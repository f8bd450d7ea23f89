"""How a worker is asked and how its answer is written: the one format of teachers, dataset and student.

The student is trained on exactly the messages it will later be asked with, so both sides call these
functions. The field markers are the ones of DSPy's ChatAdapter; code is never put inside JSON,
which small models break.
"""

from __future__ import annotations

import re

from attrs import frozen

# Chosen among twenty wordings by what a model of 135M parameters makes of them; larger ones follow any. Rows
# keep the prompt they were made with, so changing this gives a student two formats to learn.
SYSTEM_PROMPT = (
    "You are a programmer who changes scripts. Answer with [[ ## reasoning ## ]], then [[ ## script ## ]] "
    "with the whole changed script, then [[ ## completed ## ]]."
)

_REQUEST = "Write the whole changed script."

# Only "\n" ends a line: form feeds and Unicode separators are legal inside a script.
_MARKER = re.compile(r"^\[\[ ## (\w+) ## \]\][ \t\r]*$", re.MULTILINE)
_FENCE = re.compile(r"(`{3,}|~{3,})[^`\n]*\n(.*?)\n?\1[ \t\r]*", re.DOTALL)


class UnreadableAnswerError(ValueError):
    """A worker's answer does not have the asked form; the message is one sentence that says what is wrong."""


@frozen
class Answer:
    """A worker's answer, read: its chain of thought, and the whole script ending with one newline."""

    reasoning: str
    script: str


def render_prompt(instruction: str, script: str) -> str:
    """The user message that asks for a changed script; it is also the `prompt` text of a row."""
    code = _without_blank_end(script)
    # Longer than any fence in the script, so that it ends where the script does.
    fence = max([2, *(len(run) for run in re.findall("`+", code))]) * "`" + "`"
    return (
        f"{_marker('current_script')}\n{fence}\n{code}\n{fence}\n\n"
        f"{_marker('instruction')}\n{instruction.strip()}\n\n"
        f"{_REQUEST}"
    )


def to_messages(prompt: str) -> list[dict[str, str]]:
    """The chat that a worker, and later the student, is called with: system, then user."""
    return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": prompt}]


def render_response(reasoning: str, script: str) -> str:
    """The answer as a well-behaved worker writes it; `parse_response` reads it back."""
    return (
        f"{_marker('reasoning')}\n{reasoning.strip()}\n\n"
        f"{_marker('script')}\n{_without_blank_end(script)}\n\n"
        f"{_marker('completed')}"
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
    markers = list(_MARKER.finditer(text))
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
    code = _clean_script(text[script.end() : completed.start() if completed else len(text)])
    if not thought:
        raise UnreadableAnswerError("The answer's reasoning is empty.")
    if not code:
        raise UnreadableAnswerError("The answer's script is empty.")
    return Answer(thought, code + "\n")


def _marker(name: str) -> str:
    return f"[[ ## {name} ## ]]"


def _clean_script(section: str) -> str:
    body = _without_blank_end(section).lstrip("\n")
    fenced = _FENCE.fullmatch(body.lstrip())
    return _without_blank_end(fenced[2]) if fenced else body


def _without_blank_end(text: str) -> str:
    """The text without blank lines at its end; the last line's own trailing spaces stay, they may matter."""
    lines = text.split("\n")
    while lines and not lines[-1].strip(" \t\r"):
        lines.pop()
    return "\n".join(lines)
