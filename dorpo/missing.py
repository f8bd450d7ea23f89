"""Which package a failed import lacks."""

from __future__ import annotations


def missing_package(error: BaseException | None) -> str:
    """The top-level package that was not found, or "" where nothing says which.

    transformers wraps what is missing into an error of its own, which has no name.
    """
    while error is not None:
        if isinstance(error, ImportError) and error.name:
            return error.name.partition(".")[0]
        error = error.__cause__
    return ""
