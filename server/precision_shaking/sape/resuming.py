"""Sessions that broke off: which there are, what one needs to go on, and how to give one up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, evolve, frozen

from dorpo.store import Beginning, Store
from precision_shaking.sape import happenings as h
from precision_shaking.sape import workflow
from precision_shaking.sape.instances.catalogue import default
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.loading import DeclarationError, to_instance, to_tables
from precision_shaking.sape.journal import JournalError, Standing, from_json, replay, to_json
from precision_shaking.sape.state import begin
from precision_shaking.sape.vocabulary import Limits, SessionStatus
from precision_shaking.sape.wire import StartParams, TeacherAccess

_ENDED = (SessionStatus.DONE, SessionStatus.ABANDONED)


class ResumeError(Exception):
    """A session cannot be resumed or given up; the message is one sentence for the user."""


@frozen
class Resumed:
    """A session as its engine left it.

    Attributes:
        params: How it was started; its teachers have no keys, those are never stored.
        instance: As it was declared then.
    """

    uid: str
    params: StartParams
    limits: Limits
    standing: Standing
    instance: Instance


@frozen
class OpenSession:
    """A session that waits to be resumed, or given up, for a list of them.

    Attributes:
        document: Its name as the user's editor or the command line knows it.
        created_at: When it began, ISO 8601 in UTC.
        step: Index of the current step, -1 before there is a plan.
        steps: How many steps the plan has.
        text: The current step's.
        teachers: The pool, as NAME[@BASE_URL].
        problem: Why it cannot be resumed, in a sentence; empty when it can. Its place is then unknown.
    """

    session: str
    document: str
    request: str
    created_at: str
    step: int
    steps: int
    text: str
    teachers: tuple[str, ...]
    problem: str = ""


@frozen
class _Settings:
    teachers: tuple[TeacherAccess, ...]
    execute: bool
    limits: Limits
    # Sessions of versions that had only one instance were kept without what follows.
    instance: dict[str, Any] | None = None
    workspace: str | None = None
    unprotected: bool = False
    record: str | None = None
    scorer: str | None = None


def settings(params: StartParams, limits: Limits, instance: Instance) -> str | None:
    """What must be kept to resume a session, as JSON; None for one that only repeats a recording."""
    if params.replay is not None:
        return None
    pool = tuple(evolve(teacher, api_key=None) for teacher in params.teachers)
    declared = to_tables(instance)
    # Whoever resumes it may do so from another folder.
    record = None if params.record is None else str(Path(params.record).absolute())
    kept = _Settings(
        pool, params.execute, limits, declared, params.workspace, params.unprotected, record, params.scorer
    )
    return json.dumps(asdict(kept))


def recall(store: Store, uid: str) -> Resumed:
    """A session as it was left; one that is done too, for whoever missed its end.

    Raises:
        ResumeError: It was given up, or was not kept in a way that can be resumed.
        StoreError: There is no such session.
    """
    began = store.beginning(uid)
    if began.settings is None:
        raise ResumeError("This session was not kept in a way that can be resumed: start a new one.")
    if began.status == SessionStatus.ABANDONED:
        raise ResumeError("This session was stopped: start a new one.")
    kept = _read(began.settings)
    instance = _declared(kept)
    params = StartParams(
        document=began.document,
        script=began.script,
        request=began.request,
        teachers=kept.teachers,
        language=began.language,
        max_attempts=kept.limits.max_attempts,
        max_whole_lines=kept.limits.max_whole_lines,
        execute=kept.execute,
        db=str(store.path),
        instance=instance.name,
        workspace=kept.workspace,
        unprotected=kept.unprotected,
        record=kept.record,
        scorer=kept.scorer,
    )
    state = begin(began.request, began.script, kept.limits, instance.edges)
    try:
        standing = replay(state, map(from_json, store.events(uid)))
    except JournalError as error:
        raise ResumeError(str(error)) from error
    return Resumed(uid, params, kept.limits, standing, instance)


def open_sessions(store: Store) -> list[OpenSession]:
    """The sessions that wait to be resumed or given up, the newest first; not those that are running."""
    waiting = [began for began in reversed(store.unfinished()) if not store.is_held(began.uid)]
    return [_listed(store, began) for began in waiting]


def _listed(store: Store, began: Beginning) -> OpenSession:
    try:
        return open_session(store, began.uid)
    except ResumeError as error:
        return OpenSession(
            began.uid, began.document, began.request, began.created_at, -1, 0, "", (), problem=str(error)
        )


def open_session(store: Store, uid: str) -> OpenSession:
    """A session that can be resumed; errors as for `recall`."""
    resumed, created_at = recall(store, uid), store.beginning(uid).created_at
    params, state = resumed.params, resumed.standing.state
    return OpenSession(
        session=uid,
        document=params.document,
        request=params.request,
        created_at=created_at,
        step=state.step,
        steps=len(state.steps),
        text=state.steps[state.step] if state.step >= 0 else "",
        teachers=tuple(map(teacher_text, params.teachers)),
    )


def abandon(store: Store, uid: str) -> None:
    """Give up a session that broke off, as stopping it would have done.

    Raises:
        ResumeError: It has ended already.
        StoreError: There is no such session, or it is running.
    """
    with store.hold(uid):
        if store.beginning(uid).status in _ENDED:
            raise ResumeError("This session has ended already: there is nothing to give up.")
        try:
            resumed = recall(store, uid)
        except ResumeError:
            # Where it stood cannot be told. Rows of a step that was not accepted have no chosen text anyway.
            store.end_session(uid, SessionStatus.ABANDONED)
            return
        stopped = h.Stopped()
        with store.transaction():
            store.add_event(uid, to_json(stopped))
            for record in workflow.advance(resumed.standing.state, stopped).records:
                if isinstance(record, h.StepAbandoned):
                    store.abandon_step(uid, record.step)
                elif isinstance(record, h.SessionEnded):
                    store.end_session(uid, record.status)


def teacher_text(teacher: TeacherAccess) -> str:
    """A teacher as users write it: NAME[@BASE_URL]."""
    return f"{teacher.name}@{teacher.base_url}" if teacher.base_url else teacher.name


def with_keys(teachers: tuple[TeacherAccess, ...], keys: dict[str, str]) -> tuple[TeacherAccess, ...]:
    """The pool with these keys, by `teacher_text`."""
    return tuple(evolve(teacher, api_key=keys.get(teacher_text(teacher))) for teacher in teachers)


def _declared(kept: _Settings) -> Instance:
    try:
        return default() if kept.instance is None else to_instance(kept.instance, "its declaration")
    except DeclarationError as error:
        raise ResumeError(f"This version cannot resume the session: {error}") from error


def _read(text: str) -> _Settings:
    try:
        data: Any = json.loads(text)
        return cattrs.structure(data, _Settings)
    except (ValueError, TypeError, KeyError, cattrs.BaseValidationError) as error:
        raise ResumeError(
            "This version cannot resume the session: how it began is told by another one, or damaged."
        ) from error
