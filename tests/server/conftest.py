"""What holds for all tests of the server and the engine."""

from __future__ import annotations

import os

import pytest

# Set before any library is imported: none may call home, whatever order the tests run in.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


@pytest.fixture
def home(tmp_path):
    """A data folder of the server's own."""
    return tmp_path / "home"


@pytest.fixture
def uri(tmp_path):
    """A document to work on."""
    return (tmp_path / "greet.py").as_uri()


@pytest.fixture
def play(tmp_path, capfd, caplog):
    """Makes one play; when the test is over, checks what holds after every fault."""
    from tests.server.play import Play

    plays = []

    def begin(*answers):
        plays.append(Play(tmp_path, *answers))
        return plays[0]

    yield begin
    [played] = plays
    played.check_what_always_holds()
    # Before the store is closed, so that what is still in the write-ahead log is seen too.
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert "canary" not in played.told() + caplog.text + "".join(capfd.readouterr())
    assert b"canary" not in files
    played.store.close()
