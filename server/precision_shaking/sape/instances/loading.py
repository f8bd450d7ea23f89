"""Reading declarations: TOML to an `Instance`, with one sentence for whatever is wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import cattrs
from attrs import fields_dict

from precision_shaking.sape.instances.declaration import Instance, faults
from precision_shaking.sape.instances.documents import KINDS, Document
from precision_shaking.sape.instances.executing import STRATEGIES, Executing
from precision_shaking.sape.routes import Place

LARGEST_BYTES = 256 * 1024
_EXTENDS = "extends"


class DeclarationError(ValueError):
    """A declaration cannot be used; the message is one sentence that names the file and the key."""


def read_toml(source: str, where: str) -> dict[str, Any]:
    """The tables of a declaration.

    Args:
        source: Its text.
        where: The file, as the user is to find it.

    Raises:
        DeclarationError: It is no TOML.
    """
    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"{where} is no TOML: {str(error).rstrip('.')}.") from error


def extended(tables: dict[str, Any], where: str, bases: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The tables on top of those that they extend: agents and edges one by one, everything else as a whole.

    Raises:
        DeclarationError: What they extend is none of `bases`.
    """
    own = dict(tables)
    name = own.pop(_EXTENDS, None)
    if name is None:
        return own
    if not isinstance(name, str) or name not in bases:
        raise DeclarationError(f"{where}: extends must be one of {', '.join(bases)}, not {name!r}.")
    base = bases[name]
    # Prompts that were optimised are the base's own.
    merged = {**{key: value for key, value in base.items() if key != "optimized"}, **own}
    for key, depth in (("edges", 1), ("agents", 2)):
        if isinstance(own.get(key), dict):
            merged[key] = _merged(base.get(key, {}), own[key], depth)
    return merged


def to_instance(tables: Mapping[str, Any], where: str) -> Instance:
    """The instance of a declaration's tables.

    Raises:
        DeclarationError: A key is missing, unknown or has a value that cannot be used.
    """
    try:
        instance: Instance = _converter().structure(tables, Instance)
    except cattrs.BaseValidationError as error:
        raise DeclarationError(f"{where}: {_first(error)}.") from error
    for key, why in faults(instance):
        raise DeclarationError(f"{where}: {key} {why}.")
    return instance


def to_tables(instance: Instance) -> dict[str, Any]:
    """The tables that `to_instance` makes this instance of."""
    tables: dict[str, Any] = _converter().unstructure(instance)
    return tables


class _KeyFaultError(ValueError):
    """A value that cannot be used, and under which key below the one that is read."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(why)
        self.key = key


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind, wanted in ((str, "a text"), (bool, "true or false"), (int, "a whole number")):
        converter.register_structure_hook(kind, _exactly(kind, wanted))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Place, _place)
    converter.register_structure_hook_func(_is_list, _list(converter))
    # Tagged by a key of theirs: `by` for the ways to execute, `kind` for documents.
    for protocol, tag, choices in ((Executing, "by", STRATEGIES), (Document, "kind", KINDS)):
        converter.register_structure_hook(protocol, _tagged(converter, tag, choices))
        converter.register_unstructure_hook(protocol, _with_tag(converter, tag))
    return converter


def _is_list(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is tuple


def _exactly(kind: type, wanted: str) -> Callable[[Any, Any], Any]:
    def read(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"must be {wanted}")
        return value

    return read


def _number(value: Any, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
        raise ValueError("must be a number above 0 and at most 3600")
    return float(value)


def _place(value: Any, _: Any) -> Place:
    try:
        return Place(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Place)}") from None


def _list(converter: cattrs.Converter) -> Callable[[Any, Any], tuple[Any, ...]]:
    def read(value: Any, kind: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError("must be a list")
        try:
            return tuple(converter.structure(item, get_args(kind)[0]) for item in value)
        except ValueError:
            raise ValueError("must be a list of texts") from None

    return read


def _tagged(converter: cattrs.Converter, tag: str, choices: Mapping[str, type]) -> Callable[[Any, Any], Any]:
    def read(value: Any, _: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a table")
        rest = dict(value)
        name = rest.pop(tag, None)
        if not isinstance(name, str) or name not in choices:
            raise _KeyFaultError(tag, f"must be one of {', '.join(choices)}")
        if wrong := sorted(set(rest) - set(fields_dict(choices[name]))):
            raise _KeyFaultError(wrong[0], f'is no key where {tag} is "{name}"')
        return converter.structure(rest, choices[name])

    return read


def _with_tag(converter: cattrs.Converter, tag: str) -> Callable[[Any], dict[str, Any]]:
    def write(value: Any) -> dict[str, Any]:
        return {tag: getattr(value, tag), **converter.unstructure(value, type(value))}

    return write


def _merged(base: Mapping[str, Any], own: Mapping[str, Any], depth: int) -> dict[str, Any]:
    merged = {**base, **own}
    if depth > 1:
        for key in base.keys() & own.keys():
            if isinstance(base[key], dict) and isinstance(own[key], dict):
                merged[key] = _merged(base[key], own[key], depth - 1)
    return merged


def _first(error: BaseException) -> str:
    """The first thing that is wrong, as `key why`."""

    def why(problem: BaseException, _: type | None) -> str:
        match problem:
            case cattrs.ForbiddenExtraKeysError():
                return f".{min(problem.extra_fields)} is no key that a declaration has"
            case KeyError():
                return " is missing"
            case _KeyFaultError():
                return f".{problem.key} {problem}"
            case ValueError():
                return f" {problem}"
            case _:
                return " must be a table"

    message = min(cattrs.transform_error(error, format_exception=why), key=lambda text: "missing" in text)
    said, _, path = message.rpartition(" @ ")
    key = re.sub(r"\['([^']*)'\]", r".\1", path.removeprefix("$"))
    return f"{key}{said}".lstrip(".")
