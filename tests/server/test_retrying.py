"""How long a teacher is waited for."""

from __future__ import annotations

import pytest

from precision_shaking.sape.retrying import Patience, Trouble


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_no_pause_is_longer_than_the_longest(chance):
    patience = Patience(first_wait=1.0, longest_wait=3.0)
    pauses = [patience.pause(Trouble.BUSY, failures, None, chance) for failures in range(1, 6)]
    assert pauses[-1] is None
    assert all(0.5 <= pause <= 3.0 for pause in pauses[:-1])
    assert pauses[:-1] == sorted(pauses[:-1])


@pytest.mark.parametrize("trouble", [Trouble.LASTING, Trouble.BROKEN])
def test_what_waiting_does_not_help_is_not_waited_for(trouble):
    assert Patience().pause(trouble, 1, 5.0, 0.5) is None
