"""Finding the error in a Python script's output."""

from __future__ import annotations

import re

from attrs import frozen

_BAR = r"[ ]*[|+][ |+-]*"  # in front of every line of an exception group
_HEADER = re.compile(
    rf"^(?:{_BAR})?(?:Exception Group )?Traceback \(most recent call last\):$|^Fatal Python error: .*$", re.M
)
_LINK = re.compile(
    r"\n[ |]*(?:The above exception was the direct cause of the following exception"
    r"|During handling of the above exception, another exception occurred):\n[ |\n]*$"
)
_ERROR = re.compile(rf"^(?:{_BAR})?(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:: .*)?$", re.M)
# The compiler's own errors have no header.
_SYNTAX = re.compile(
    r"^  File \".*\", line \d+\n(?:    .*\n)*(?=(?:SyntaxError|IndentationError|TabError): )", re.M
)
_CONTEXT_LINES = 6


@frozen
class Failure:
    """The error a script ended with.

    Attributes:
        start: Where its traceback begins in the output.
        errors: `Kind: message` of each error of the chain, the last one raised at the end. A message may have
            several lines.
        context: The last lines of the traceback up to the first line of the last message.
    """

    start: int
    errors: tuple[str, ...]
    context: str


def last_failure(output: str) -> Failure | None:
    """Find the traceback at the end of an output; None when there is none."""
    headers = list(_HEADER.finditer(output))
    syntax = list(_SYNTAX.finditer(output))
    if syntax and (not headers or headers[-1].start() < syntax[-1].start()):
        message = output[syntax[-1].end() :].strip()
        return Failure(syntax[-1].start(), (message,), message)
    if not headers:
        return None
    first = len(headers) - 1
    while first > 0 and _LINK.search(output, headers[first - 1].end(), headers[first].start()):
        first -= 1
    chain = headers[first:]
    ends = [header.start() for header in chain[1:]] + [len(output)]
    blocks = [output[header.start() : end] for header, end in zip(chain, ends, strict=True)]
    return Failure(chain[0].start(), tuple(map(_error, blocks)), _context(blocks[-1]))


def _error(block: str) -> str:
    found = _error_match(block)
    if found is None:
        return block.splitlines()[0]
    text = re.sub(rf"^{_BAR}", "", block[found.start() :], flags=re.M)
    return _LINK.sub("", text).strip()


def _context(block: str) -> str:
    found = _error_match(block)
    end = len(block) if found is None else found.end()
    return "\n".join(block[:end].splitlines()[-_CONTEXT_LINES:])


def _error_match(block: str) -> re.Match[str] | None:
    """The first line that is not indented, after the header, is the error's."""
    header_end = block.find("\n")
    return _ERROR.search(block, header_end + 1) if header_end >= 0 else None
