"""Making the engine's session: a new one, or one that broke off. Loads the agents, which takes seconds."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from attrs import evolve, frozen

from dorpo.store import Store, StoreError, default_path
from precision_shaking.sape import wire
from precision_shaking.sape.channel import Channel, ChannelError, DirectChannel
from precision_shaking.sape.events import SessionEvent
from precision_shaking.sape.instances.catalogue import find
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.documents import SeveralFiles
from precision_shaking.sape.instances.loading import DeclarationError
from precision_shaking.sape.optimizing.equipping import EquippedChannel
from precision_shaking.sape.recording import RecordingChannel
from precision_shaking.sape.replaying import ReplayChannel
from precision_shaking.sape.resuming import Resumed, ResumeError, recall, with_keys
from precision_shaking.sape.session import Session
from precision_shaking.sape.teachers import Teacher, TeacherError, connect


@frozen
class Opened:
    """A session that can be run, and what to give back afterwards: its dataset, and its being ours alone."""

    session: Session
    result: wire.StartResult
    resources: ExitStack


def open_session(
    params: wire.StartParams | wire.ResumeParams, emit: Callable[[SessionEvent], None]
) -> Opened:
    """Make the session of a `start` or `resume` request.

    Raises:
        WireError: It cannot be made.
    """
    with ExitStack() as resources:
        try:
            if isinstance(params, wire.ResumeParams):
                session, result = _resume(params, emit, resources)
            else:
                session, result = _start(params, emit, resources)
        except (TeacherError, ChannelError, StoreError, ResumeError, DeclarationError) as error:
            raise wire.WireError(str(error)) from error
        return Opened(session, result, resources.pop_all())


def _start(
    params: wire.StartParams, emit: Callable[[SessionEvent], None], resources: ExitStack
) -> tuple[Session, wire.StartResult]:
    teachers, channel, scorer = _reach(params)
    params = evolve(params, scorer=scorer)
    instance = find(params.instance, Path(params.workspace) if params.workspace else None)
    store = resources.enter_context(Store.open(_dataset(params.db)))
    uid = str(uuid.uuid4())
    if params.record is not None:
        asked = [teacher.access for teacher in teachers]
        channel = RecordingChannel.create(Path(params.record), asked, scorer, channel, _moment(store, uid))
    elif params.replay is None:
        # Not under a recording: it is to be run again where the agents have no programs.
        channel = _equipped(channel, instance)
    session = Session(params, teachers, store, emit, instance, channel, uid=uid)
    resources.enter_context(store.hold(uid))
    return session, _result(uid, params, instance)


def _resume(
    params: wire.ResumeParams, emit: Callable[[SessionEvent], None], resources: ExitStack
) -> tuple[Session, wire.StartResult]:
    store = resources.enter_context(Store.open(_dataset(params.db), create=False))
    resources.enter_context(store.hold(params.session))
    resumed = recall(store, params.session)
    began = resumed.params
    began = evolve(
        began,
        teachers=with_keys(began.teachers, params.api_keys),
        execute=began.execute and params.execute,
    )
    teachers = [connect(access) for access in began.teachers]
    instance = resumed.instance
    channel = _recorded_on(store, resumed) or _equipped(DirectChannel(), instance)
    session = Session(began, teachers, store, emit, instance, channel, resumed)
    return session, _result(session.uid, began, instance)


def _result(uid: str, began: wire.StartParams, instance: Instance) -> wire.StartResult:
    writes = instance.document.writes if isinstance(instance.document, SeveralFiles) else None
    return wire.StartResult(uid, began.document, began.request, began.script, began.workspace, writes)


def _recorded_on(store: Store, resumed: Resumed) -> Channel | None:
    """The way to the teachers of a session that was recorded so far."""
    if resumed.params.record is None:
        return None
    moment = _moment(store, resumed.uid)
    try:
        return RecordingChannel.go_on(Path(resumed.params.record), DirectChannel(), moment)
    except ChannelError as error:
        # The work is worth more than its recording.
        _log(f"{error} The session goes on without being recorded.")
        return None


def _moment(store: Store, uid: str) -> Callable[[], int]:
    return lambda: len(store.events(uid))


def _reach(params: wire.StartParams) -> tuple[list[Teacher], Channel, str | None]:
    """The pool, the way to it, and the scorer."""
    if params.replay is None:
        return [connect(access) for access in params.teachers], DirectChannel(), params.scorer
    replay = ReplayChannel.open(Path(params.replay))
    return replay.pool(), replay, replay.recording.scorer


def _equipped(channel: Channel, instance: Instance) -> Channel:
    """The same way, for agents with the programs that were optimised for them, if they are to have any."""
    if not instance.optimized:
        return channel
    return EquippedChannel(channel, instance.name, default_path().parent, _log)


def _dataset(db: str | None) -> Path:
    return Path(db) if db else default_path()


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
