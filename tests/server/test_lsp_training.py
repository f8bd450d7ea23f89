import asyncio
import fcntl
import os
import signal

import pytest
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from scripted_teacher import ScriptedTeacher, instruct, plan, work
from tiny_student import save_student

from precision_shaking.lsp.trainer import LOCK_FILE
from tests.server.lsp_editor import editor, wait_for_end

URI = "file:///greet.py"


@pytest.fixture(scope="module")
def tiny_student(tmp_path_factory):
    return save_student(tmp_path_factory.mktemp("student"))


async def _accept_one_step(ed):
    ed.open(URI, "print('hello')\n")
    await ed.accept_next(await ed.start(URI))
    await ed.next_event_of_the_end()


def _teacher():
    works = [work("print('hello')\nprint('bye')\n")]
    return ScriptedTeacher({"planner": [plan("a step")], "lead": [instruct("Do it.")], "worker": works})


async def test_the_dataset_is_counted(home):
    with _teacher() as teacher:
        async with editor(home, teachers=[teacher.teacher()]) as ed:
            await _accept_one_step(ed)
            stats = await ed.ask("datasetStats", {})
    assert (stats["sessions"], stats["steps"], stats["rows"], stats["openRows"]) == (1, 1, 1, 0)
    assert stats["byTeacher"] == {"openai/scripted": 1}
    assert stats["path"] == str(home / "dataset.db")


async def test_another_database_is_used_where_one_is_set(home, tmp_path):
    with _teacher() as teacher:
        database = str(tmp_path / "mine" / "rows.db")
        async with editor(home, teachers=[teacher.teacher()], database=database) as ed:
            await _accept_one_step(ed)
            assert (await ed.ask("datasetStats", {}))["path"] == database
    assert not (home / "dataset.db").exists()


async def test_a_dataset_that_is_not_there_is_told(home):
    async with editor(home) as ed:
        with pytest.raises(JsonRpcException, match="There is no dataset"):
            await ed.ask("datasetStats", {})
        with pytest.raises(JsonRpcException, match="dataset"):
            await ed.ask("startTraining", {})


async def test_a_second_training_is_refused_whoever_runs_the_first(home):
    (home / "trainings").mkdir(parents=True)
    with (home / "trainings" / LOCK_FILE).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with editor(home) as ed:
            with pytest.raises(JsonRpcException, match="A training is running already"):
                await ed.ask("startTraining", {})
            await ed.run("precisionShaking.server.train")
            assert "A training is running already" in await ed.next_message()


@pytest.mark.train
async def test_a_training_reports_its_progress_and_its_adapter(home, tiny_student):
    with _teacher() as teacher:
        options = {"teachers": [teacher.teacher()], "student": str(tiny_student), "trainingSteps": 3}
        async with editor(home, **options) as ed:
            await _accept_one_step(ed)
            result = await ed.ask("startTraining", {"workDoneToken": "mine"})
            reports = await _reports(ed)
    assert result["status"] == "finished"
    assert result["output"].startswith(str(home / "trainings"))
    assert result["metrics"].keys() == {"before", "after"}
    assert reports[0]["kind"] == "begin"
    assert reports[0]["cancellable"]
    said = [report for report in reports if report["kind"] == "report"]
    assert said[0]["message"].startswith("about ")
    assert said[0]["message"].endswith(" of memory")
    assert said[-1]["percentage"] == 100
    assert said[-1]["message"].startswith("step 3 of 3, loss ")


@pytest.mark.train
@pytest.mark.parametrize("how", ["request", "progress"])
async def test_a_cancelled_training_saves_and_says_so(home, tiny_student, how):
    with _teacher() as teacher:
        options = {"teachers": [teacher.teacher()], "student": str(tiny_student), "trainingSteps": 100_000}
        async with editor(home, **options) as ed:
            await _accept_one_step(ed)
            sending = ed.client.protocol.send_request_async(
                "precisionShaking/startTraining", {"workDoneToken": "mine"}, msg_id="training-1"
            )
            training = asyncio.ensure_future(sending)
            await ed.next_report()
            await ed.next_report()
            if how == "request":
                ed.client.cancel_request(types.CancelParams("training-1"))
            else:
                ed.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams("mine"))
            result = await ed.patiently(training)
    assert result["status"] == "cancelled"
    assert list(home.glob("trainings/*/adapter_model.safetensors"))


async def _reports(ed):
    reports = []
    while not reports or reports[-1]["kind"] != "end":
        reports.append(await ed.next_report())
    return reports


@pytest.mark.train
async def test_a_training_outlives_its_editor(home, tiny_student):
    with _teacher() as teacher:
        options = {"teachers": [teacher.teacher()], "student": str(tiny_student), "trainingSteps": 100_000}
        async with editor(home, **options) as ed:
            await _accept_one_step(ed)
            sending = ed.client.protocol.send_request_async("precisionShaking/startTraining", {})
            training = asyncio.ensure_future(sending)
            await ed.next_report()
            await ed.next_report()
    with pytest.raises(JsonRpcException):
        await training
    async with editor(home) as ed:
        with pytest.raises(JsonRpcException, match="A training is running already"):
            await ed.ask("startTraining", {})
    number = _process_in(home / "trainings" / LOCK_FILE)
    os.kill(number, signal.SIGINT)
    await wait_for_end(number)
    assert list(home.glob("trainings/*/adapter_model.safetensors"))


def _process_in(lock):
    return int(lock.read_text("ascii"))


async def test_without_a_training_there_is_no_model_to_work_with(home):
    async with editor(home) as ed:
        with pytest.raises(JsonRpcException, match="There is no trained model yet: train one first"):
            await ed.ask("makeWorker", {"training": None})


@pytest.mark.train
async def test_a_student_that_no_worker_can_ask_is_refused_with_the_way_out(home, tiny_student):
    with _teacher() as teacher:
        options = {"teachers": [teacher.teacher()], "student": str(tiny_student), "trainingSteps": 1}
        async with editor(home, **options) as ed:
            await _accept_one_step(ed)
            await ed.ask("startTraining", {"workDoneToken": "training"})
            with pytest.raises(JsonRpcException, match=r"only llama\.cpp can make one of .* --help"):
                await ed.ask("makeWorker", {"training": None, "workDoneToken": "making"})


@pytest.mark.train
@pytest.mark.embedded
async def test_a_cancelled_model_is_not_half_there_and_can_be_made_later(home):
    with _teacher() as teacher:
        async with editor(home, teachers=[teacher.teacher()], student="smollm2", trainingSteps=1) as ed:
            await _accept_one_step(ed)
            trained = await ed.ask("startTraining", {"workDoneToken": "training"})
            await _reports(ed)
            making = asyncio.ensure_future(
                ed.ask("makeWorker", {"training": trained["output"], "workDoneToken": "making"})
            )
            await ed.next_report()
            ed.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams("making"))
            with pytest.raises(JsonRpcException, match="Cancelled: no model was made"):
                await making
            assert list(home.glob("models/*")) == []
            made = await ed.ask("makeWorker", {"training": None, "workDoneToken": "again"})
    (file,) = home.glob("models/*/*-f16.gguf")
    assert made == {"worker": f"embedded/{file}"}
