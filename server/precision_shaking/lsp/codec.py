"""JSON to the messages of `protocol` and back, strictly: a wrong field is said, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import EnumType
from typing import Any, TypeVar, get_args

import attrs
from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.v import format_exception

Message = TypeVar("Message")


class WireFormatError(ValueError):
    """A message does not have the agreed form; the text says which field and why."""


def camel_case(name: str) -> str:
    """`open_rows` → `openRows`."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def strict_converter(*, forbid_extra_keys: bool) -> Converter:
    """A converter for attrs classes with camelCase keys that converts no primitive into another."""
    converter = Converter(forbid_extra_keys=forbid_extra_keys)

    def renames(cls: type) -> dict[str, Any]:
        return {field.name: override(rename=camel_case(field.name)) for field in attrs.fields(cls)}

    def structure(cls: type) -> Callable[..., Any]:
        return make_dict_structure_fn(
            cls,
            converter,
            _cattrs_forbid_extra_keys=forbid_extra_keys,
            **renames(cls),
        )

    def unstructure(cls: type) -> Callable[..., Any]:
        return make_dict_unstructure_fn(cls, converter, **renames(cls))

    converter.register_structure_hook_factory(attrs.has, structure)
    converter.register_unstructure_hook_factory(attrs.has, unstructure)
    for primitive in (str, int, bool):
        converter.register_structure_hook(primitive, _exactly(primitive))
    converter.register_structure_hook(str | int | None, _token)
    return converter


def _exactly(primitive: type) -> Callable[[Any, Any], Any]:
    def check(value: Any, wanted: Any) -> Any:
        # Identity, because a bool is an int to Python, not to JSON.
        if type(value) is not primitive:
            raise ValueError
        # An enumeration of texts is asked for here too.
        return wanted(value)

    return check


def _token(value: Any, _: Any) -> Any:
    if value is None or type(value) in (str, int):
        return value
    raise ValueError


_CONVERTER = strict_converter(forbid_extra_keys=True)


def to_wire(message: Any) -> Any:
    """A message as JSON."""
    return _CONVERTER.unstructure(message)


def from_wire(data: Any, wanted: type[Message]) -> Message:
    """A message from JSON; absent parameters are `{}`.

    Raises:
        WireFormatError: A field is missing, unknown or of the wrong type.
    """
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise WireFormatError("the parameters must be an object")
    try:
        return _CONVERTER.structure(data, wanted)
    except BaseValidationError as error:
        lines = transform_error(error, format_exception=_describe)
        raise WireFormatError("; ".join(_with_wire_names(line) for line in lines)) from error


def _describe(error: BaseException, wanted: Any) -> str:
    for kind in (wanted, *get_args(wanted)):
        if isinstance(kind, EnumType):
            members: list[Any] = list(kind)
            return f"expected one of {', '.join(str(member) for member in members)}"
    return format_exception(error, wanted)


def _with_wire_names(line: str) -> str:
    """An error's path is made of Python's names; the client knows the wire's."""
    what, at, path = line.rpartition(" @ ")
    return what + at + camel_case(path)
