"""A merged student as a GGUF file: what is wanted, and how llama.cpp's own converter makes it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from attrs import frozen

SCRIPT = "convert_hf_to_gguf.py"
# How weights may be held, as the converter calls it.
KINDS = ("f16", "q8_0")


@frozen
class Wish:
    """What file is wanted.

    Attributes:
        kind: One of KINDS.
        converter: llama.cpp's script, for models that cannot be written without it; None without one.
        insist: Whether it makes the others, too.
    """

    kind: str = "f16"
    converter: Path | None = None
    insist: bool = False


class ConversionError(Exception):
    """The converter did not make a file; the message says why, in one sentence."""


def find_converter(llama_cpp: Path | None) -> Path | None:
    """The converter in a checkout of llama.cpp, or on the PATH; None when it is not there.

    Raises:
        ConversionError: The given folder holds none.
    """
    if llama_cpp is None:
        found = shutil.which(SCRIPT, mode=os.F_OK | os.R_OK)
        return Path(found) if found else None
    script = llama_cpp.expanduser() / SCRIPT
    if not script.is_file():
        raise ConversionError(
            f"There is no {SCRIPT} in {llama_cpp}: give the folder of a llama.cpp checkout."
        )
    return script


def name_in(folder: str, kind: str) -> str:
    """The file's name in a folder of this name."""
    return f"{folder}-{kind}.gguf"


def command(script: Path | str, folder: Path, file: Path, kind: str) -> list[str]:
    """What converts a transformers folder."""
    return [sys.executable, str(script), str(folder), "--outfile", str(file), "--outtype", kind]


def spoken(words: list[str]) -> str:
    """A command as one would type it."""
    return shlex.join(words)


def convert(script: Path, folder: Path, file: Path, kind: str) -> None:
    """Make the file.

    Raises:
        ConversionError: The converter failed.
    """
    done = subprocess.run(  # noqa: S603 - the user's own llama.cpp
        command(script, folder, file, kind), capture_output=True, text=True, check=False
    )
    if done.returncode or not file.is_file():
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else f"status {done.returncode}"
        raise ConversionError(
            f"{SCRIPT} made no file ({why}): install what it needs into this Python, or pass --no-gguf."
        )
