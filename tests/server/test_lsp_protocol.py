import json
import re
from pathlib import Path
from typing import get_args

import pytest

from precision_shaking.lsp import protocol
from precision_shaking.lsp.codec import WireFormatError, from_wire, to_wire
from precision_shaking.lsp.protocol_resuming import (
    AbandonSessionParams,
    OpenSessionsResult,
    ResumeSessionParams,
    ResumeSessionResult,
)
from precision_shaking.lsp.rpc import OUR_PREFIX
from precision_shaking.sape.event_json import from_json, to_json
from precision_shaking.sape.events import SessionEvent
from precision_shaking.settings import Settings

SAMPLES = Path(__file__).parents[1] / "protocol"
PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"

MESSAGES = {
    protocol.INSTANCES: (protocol.InstancesParams, protocol.InstancesResult),
    protocol.START_SESSION: (protocol.StartSessionParams, protocol.StartSessionResult),
    protocol.ANSWER: (protocol.AnswerParams, protocol.AnswerResult),
    protocol.HELP: (protocol.HelpParams, protocol.Nothing),
    protocol.CORRECT: (protocol.CorrectParams, protocol.Nothing),
    protocol.STOP_SESSION: (protocol.StopSessionParams, protocol.Nothing),
    protocol.OPEN_SESSIONS: (protocol.Nothing, OpenSessionsResult),
    protocol.RESUME_SESSION: (ResumeSessionParams, ResumeSessionResult),
    protocol.ABANDON_SESSION: (AbandonSessionParams, protocol.Nothing),
    protocol.START_TRAINING: (protocol.StartTrainingParams, protocol.StartTrainingResult),
    protocol.MAKE_WORKER: (protocol.MakeWorkerParams, protocol.MakeWorkerResult),
    protocol.DATASET_STATS: (protocol.Nothing, protocol.DatasetStatsResult),
    protocol.SESSION_EVENT: (protocol.SessionEventParams, None),
    protocol.PROPOSAL: (protocol.ProposalParams, None),
    protocol.API_KEY: (protocol.ApiKeyParams, protocol.ApiKeyResult),
}


def test_the_page_of_the_protocol_names_every_method_and_no_other():
    declared = {value for value in vars(protocol).values() if str(value).startswith(OUR_PREFIX)}
    lines = re.findall(rf"^\| `({OUR_PREFIX}\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(lines) == sorted(declared) == sorted(MESSAGES)


def _samples():
    return [json.loads(path.read_text("utf-8")) for path in sorted(SAMPLES.glob("*.json"))]


def test_every_message_has_one_sample():
    assert sorted(sample["method"] for sample in _samples()) == sorted(MESSAGES)


@pytest.mark.parametrize("sample", _samples(), ids=lambda sample: sample["method"])
def test_samples_survive_the_round_trip(sample):
    params, result = MESSAGES[sample["method"]]
    assert to_wire(from_wire(sample["params"], params)) == sample["params"]
    assert ("result" in sample) == (result is not None)
    if result is not None:
        assert to_wire(from_wire(sample["result"], result)) == sample["result"]


def test_every_event_has_a_sample_that_survives_the_round_trip():
    samples = [json.loads(path.read_text("utf-8")) for path in (SAMPLES / "events").glob("*.json")]
    assert {sample["kind"] for sample in samples} == {event.kind for event in get_args(SessionEvent)}
    for sample in samples:
        assert to_json(from_json(sample)) == sample


def test_the_settings_sample_is_accepted():
    options = json.loads((SAMPLES / "settings" / "initialization-options.json").read_text("utf-8"))
    assert Settings().updated(options).client_commands


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (None, "uri"),
        ({"uri": "file:///a.py"}, "request"),
        ({"uri": 5, "request": "x"}, "uri"),
        ({"uri": "file:///a.py", "request": ["x"]}, "request"),
        ({"uri": "file:///a.py", "request": "x", "more": 1}, "more"),
        ([], "object"),
    ],
)
def test_a_wrong_field_is_named(params, field):
    with pytest.raises(WireFormatError, match=field):
        from_wire(params, protocol.StartSessionParams)


@pytest.mark.parametrize("verdict", ["maybe", 1, True])
def test_an_unknown_verdict_is_refused(verdict):
    with pytest.raises(WireFormatError, match="verdict"):
        from_wire({"session": "s", "attempt": "a", "verdict": verdict}, protocol.AnswerParams)


def test_a_flag_is_no_number():
    with pytest.raises(WireFormatError, match="workDoneToken"):
        from_wire({"workDoneToken": True}, protocol.StartTrainingParams)
