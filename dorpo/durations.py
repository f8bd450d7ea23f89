"""How long something takes, in words."""

from __future__ import annotations

_MINUTE, _HOUR = 60, 3600


def in_words(seconds: float) -> str:
    """A duration as a person says it: "40 s", "3 min", "12 h 42 min".

    Args:
        seconds: The duration; rounded to seconds under a minute, and to minutes above.
    """
    if round(seconds) < _MINUTE:
        return f"{max(0, round(seconds))} s"
    hours, minutes = divmod(round(seconds / _MINUTE), _HOUR // _MINUTE)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
