"""`precision-shaking instances`: which instances there are, and where they are from."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from precision_shaking.console import visible
from precision_shaking.sape.instances.catalogue import SHIPPED, Entry, catalogue
from precision_shaking.sape.instances.loading import DeclarationError
from precision_shaking.sape.instances.workspace import workspace_of

_DONE, _UNUSABLE = 0, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run_instances` reads."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_instances(arguments: argparse.Namespace) -> int:
    """List the instances that can be used in the current folder."""
    workspace = workspace_of([Path.cwd()])
    try:
        entries = catalogue(workspace)
    except DeclarationError as error:
        sys.stderr.write(f"precision-shaking: {visible(str(error))}\n")
        return _UNUSABLE
    if arguments.json:
        sys.stdout.write(json.dumps({"instances": [_fields(entry) for entry in entries]}) + "\n")
    else:
        sys.stdout.write("".join(_line(entry, workspace) for entry in entries))
    return _DONE


def _fields(entry: Entry) -> dict[str, object]:
    instance = entry.instance
    return {
        "name": instance.name,
        "title": instance.title,
        "source": entry.source,
        "languages": list(instance.languages),
        "document": instance.document.kind,
        "executing": instance.executing.by,
    }


def _line(entry: Entry, workspace: Path) -> str:
    source = entry.source
    if source != SHIPPED and Path(source).is_relative_to(workspace):
        source = Path(source).relative_to(workspace).as_posix()
    return visible(f"{entry.instance.name:12} {entry.instance.title} ({source})") + "\n"
