"""A dataset in a temporary folder, and a short way to tell what happens in a session."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlite_utils import Database

from dorpo.rendering import render_response
from dorpo.softlabels import TokenScore
from dorpo.store import AttemptRecord, Store
from dorpo.store.schema import migrations


class Story:
    """A session of one step, told in single words."""

    def __init__(self, store: Store, uid: str = "session", steps: int = 1) -> None:
        self.store = store
        self.uid = uid
        self.cycles = dict.fromkeys(range(steps), 0)
        store.start_session(
            uid=uid,
            document=f"file:///{uid}.py",
            language="python",
            request=f"request of {uid}",
            script=f"print('{uid}')\n",
            instance="script",
            app_version="0.1.0",
        )
        store.add_steps(uid, [f"step {n} of {uid}" for n in range(steps)])
        for n in range(steps):
            store.fix_prompt(uid, n, instruction=f"instruction {n} of {uid}", script=f"print('{uid}')\n")

    def attempt(
        self, step: int = 0, *, cause: str = "first", teacher: str = "teacher", soft: bool = False
    ) -> str:
        author = "user" if cause in ("amended", "by_hand") else "worker"
        if author == "worker" or cause == "by_hand":
            self.cycles[step] += 1
        cycle = self.cycles[step]
        uid = f"{self.uid}-{step}-{cycle}-{author}"
        script = f"print('{uid}')\n"
        response = render_response(f"reasoning of {uid}", script)
        record = AttemptRecord(
            uid=uid,
            cycle=cycle,
            cause=cause,
            instruction=f"instruction {step} of {self.uid}",
            base_script=f"print('{self.uid}')\n",
            response=response,
            reasoning=f"reasoning of {uid}",
            script=script,
            teacher=teacher,
            author=author,
            finish_reason="stop",
            input_tokens=10,
            output_tokens=20,
            seconds=0.5,
            soft_labels=[TokenScore(response.encode(), -0.5, ())] if soft else None,
        )
        self.store.add_attempt(self.uid, step, record)
        return uid

    def rejected(self, reason: str, step: int = 0, *, cause: str = "first", soft: bool = False) -> str:
        uid = self.attempt(step, cause=cause, soft=soft)
        self.store.reject(uid, reason)
        return uid

    def accepted(
        self, step: int = 0, *, cause: str = "first", teacher: str = "teacher", soft: bool = False
    ) -> str:
        uid = self.attempt(step, cause=cause, teacher=teacher, soft=soft)
        self.store.accept(self.uid, step, uid)
        return uid

    def call(
        self,
        agent: str,
        step: int | None = None,
        *,
        cycle: int | None = None,
        response: str | None = None,
        status: str = "ok",
        cost: float | None = None,
        teacher: str = "teacher",
    ) -> None:
        """A call of an agent; the worker's answer is the next attempt's unless it is given."""
        if step is not None and cycle is None:
            cycle = self.cycles[step] + 1
        if agent == "worker" and response is None:
            uid = f"{self.uid}-{step}-{cycle}-worker"
            response = render_response(f"reasoning of {uid}", f"print('{uid}')\n")
        messages = [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": f"asks the {agent}"},
        ]
        self.store.add_agent_call(
            self.uid,
            agent=agent,
            teacher=teacher,
            request=json.dumps(messages),
            response=response or f"answer of the {agent}",
            status=status,
            input_tokens=100,
            output_tokens=10,
            seconds=0.5,
            cost_usd=cost,
            step=step,
            cycle=cycle,
        )


@pytest.fixture(scope="session")
def story() -> type[Story]:
    return Story


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data" / "dataset.db") as store:
        yield store


@pytest.fixture
def older(store: Store, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a dataset as it was before a migration, with what the store holds now."""

    def make(stop_before: str) -> Path:
        old = tmp_path / "old.db"
        db = Database(old)
        migrations.apply(db, stop_before=stop_before)
        db.execute("ATTACH ? AS new", [str(store.path)])
        db.execute("PRAGMA foreign_keys = OFF")
        for table in db.table_names():
            if not table.startswith(("sqlite_", "_")):
                columns = ", ".join(db.table(table).columns_dict)
                db.execute(f"INSERT INTO {table}({columns}) SELECT {columns} FROM new.{table}")  # noqa: S608
        db.conn.commit()
        db.close()
        return old

    return make
