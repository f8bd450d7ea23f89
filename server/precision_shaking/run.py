"""`precision-shaking run` and `resume`: a session in the terminal, by the engine process that editors use."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import url2pathname

from attrs import define, evolve
from rich.console import Console

from dorpo.store import Store, StoreError, default_path
from precision_shaking.answers import STOP, Answers, NoAnswerError, ScriptedAnswers, read_answers
from precision_shaking.console import JsonView, TerminalView, View, visible
from precision_shaking.document import Document, DocumentError
from precision_shaking.documents import Documents, named_files
from precision_shaking.merge import merge
from precision_shaking.sape import events as e
from precision_shaking.sape import wire
from precision_shaking.sape.instances.catalogue import DEFAULT, choose
from precision_shaking.sape.instances.declaration import Instance
from precision_shaking.sape.instances.documents import SeveralFiles
from precision_shaking.sape.instances.filesets import parse
from precision_shaking.sape.instances.loading import DeclarationError
from precision_shaking.sape.instances.workspace import workspace_of
from precision_shaking.sape.process import EngineError, EngineProcess
from precision_shaking.sape.resuming import ResumeError, recall, teacher_text
from precision_shaking.sape.scorers import parse_scorer
from precision_shaking.sape.teachers import TeacherError, parse_teacher
from precision_shaking.sape.vocabulary import SessionStatus, Verdict

DEFAULT_TEACHER = "embedded/smollm2"
_DONE, _NOT_DONE, _UNUSABLE, _INTERRUPTED = 0, 1, 2, 130


# Of editors, by the ending of a file's name; anything else is taken for a Python script.
_LANGUAGES = {
    **{".md": "markdown", ".markdown": "markdown", ".txt": "plaintext", ".rst": "restructuredtext"},
    **{".adoc": "asciidoc", ".tex": "latex", ".html": "html", ".js": "javascript", ".ts": "typescript"},
    **{".sh": "shellscript", ".toml": "toml", ".json": "json", ".yaml": "yaml", ".yml": "yaml"},
}


class UserDocument(Protocol):
    """What the user changes: a file, or several as one text."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def text(self) -> str:
        """What it holds, as engine and models see it."""

    def replace(self, text: str) -> None:
        """Write another text into it.

        Raises:
            DocumentError: It was changed by somebody else, or cannot be written.
        """


class OptionsError(Exception):
    """Options that do not go together; the message is one sentence for the user."""


class BrokenOffError(Exception):
    """The session cannot go on now; the message is one sentence for the user, and how to go on later."""


def run(arguments: argparse.Namespace) -> int:
    """Run a session.

    Returns:
        0 when every step was accepted, 1 when it was stopped before, 2 after an error, 130 after Ctrl+C.
    """

    def prepare() -> tuple[UserDocument, wire.StartParams]:
        paths = [Path(path) for path in arguments.paths]
        workspace = workspace_of(paths)
        language = _LANGUAGES.get(paths[0].suffix.lower(), "python")
        instance = choose(arguments.instance, DEFAULT, language, workspace)
        document = _opened(instance, paths, workspace)
        params = _params(arguments, document)
        return document, evolve(params, language=language, instance=instance.name, workspace=str(workspace))

    return _drive(arguments, prepare)


def _opened(instance: Instance, paths: list[Path], workspace: Path) -> UserDocument:
    """The document that the paths are for this instance."""
    if isinstance(instance.document, SeveralFiles):
        return Documents.read(workspace, named_files(workspace, paths, instance.document.beside))
    if len(paths) > 1:
        raise OptionsError(
            f"The instance {instance.name} changes one file: name one, then what should change."
        )
    return Document.read(paths[0])


def resume(arguments: argparse.Namespace) -> int:
    """Go on with a session that broke off; the exit status as `run`'s."""
    return _drive(arguments, lambda: _found(arguments))


def _drive(
    arguments: argparse.Namespace,
    prepare: Callable[[], tuple[UserDocument, wire.StartParams | wire.ResumeParams]],
) -> int:
    console = Console(highlight=False)
    try:
        document, params = prepare()
        scripted = read_answers(Path(arguments.answers)) if arguments.answers else ScriptedAnswers()
        terminal = TerminalView(console, several=isinstance(document, Documents))
        view: View = JsonView(sys.stdout) if arguments.json else terminal
        asking = Console(stderr=True, highlight=False) if arguments.json else console
        return asyncio.run(_Run(document, document.text, Answers(scripted, asking), view).drive(params))
    except (
        *(OptionsError, DocumentError, NoAnswerError, TeacherError, EngineError, BrokenOffError),
        *(StoreError, ResumeError, DeclarationError),
    ) as error:
        sys.stderr.write(f"precision-shaking: {visible(str(error))}\n")
        return _UNUSABLE
    except KeyboardInterrupt:
        sys.stderr.write("precision-shaking: stopped; what was accepted is in the file.\n")
        return _INTERRUPTED


def _params(arguments: argparse.Namespace, document: UserDocument) -> wire.StartParams:
    key = os.environ.get("PRECISION_SHAKING_API_KEY")
    pool = [parse_teacher(text) for text in arguments.teachers or [DEFAULT_TEACHER]]
    if arguments.worker:
        pool.insert(0, evolve(parse_teacher(arguments.worker), worker_only=True))
    # The key is meant for servers of the user's own; a provider's is in the provider's own variable.
    teachers = tuple(evolve(teacher, api_key=key if teacher.base_url else None) for teacher in pool)
    if arguments.replay and (arguments.teachers or arguments.worker):
        raise OptionsError("A replay has the teachers of its recording: leave out --teacher and --worker.")
    if arguments.replay and arguments.scorer:
        raise OptionsError("A replay has the scorer of its recording: leave out --scorer.")
    if arguments.replay and not arguments.db:
        raise OptionsError(
            "A replay makes the recorded session's rows again: name a dataset for them with --db."
        )
    return wire.StartParams(
        # Absolute, as the session may be resumed from elsewhere. Several files are known by their folder:
        # an editor, which opens none, cannot take them for one of its documents.
        document=str(document.path.absolute()),
        script=document.text,
        unprotected=arguments.unprotected,
        request=arguments.request,
        teachers=teachers,
        db=_absolute(arguments.db),
        max_attempts=max(1, arguments.max_attempts),
        max_whole_lines=max(1, arguments.max_whole_lines),
        execute=not arguments.no_execute,
        record=_absolute(arguments.record),
        replay=_absolute(arguments.replay),
        scorer=_scorer(arguments.scorer),
    )


def _scorer(text: str | None) -> str | None:
    try:
        return None if text is None else parse_scorer(text)
    except ValueError as error:
        raise OptionsError(f"--scorer must be {error}.") from error


def _found(arguments: argparse.Namespace) -> tuple[UserDocument, wire.ResumeParams]:
    """The document of a session that broke off, and what its engine needs."""
    with Store.open(Path(arguments.db) if arguments.db else default_path(), create=False) as store:
        resumed = recall(store, arguments.session)
    began = resumed.params
    key = os.environ.get("PRECISION_SHAKING_API_KEY")
    own = [teacher_text(teacher) for teacher in began.teachers if teacher.base_url]
    document: UserDocument
    if resumed.instance.document.several and began.workspace is not None:
        document = Documents.read(Path(began.workspace), list(parse(began.script)))
    else:
        document = Document.read(_path(began.document))
    return document, wire.ResumeParams(
        session=arguments.session,
        api_keys=dict.fromkeys(own, key) if key else {},
        db=_absolute(arguments.db),
        execute=not arguments.no_execute,
    )


def _path(document: str) -> Path:
    """The file of a session's document, which an editor calls by its URI."""
    scheme, separator, _ = document.partition("://")
    if not separator:
        if document.startswith("untitled:"):
            raise OptionsError("The session is on a document without a file: resume it in the editor.")
        return Path(document)
    if scheme != "file":
        raise OptionsError(f"The session is on {document}, which is no file here: resume it in the editor.")
    return Path(url2pathname(urlsplit(document).path))


def _absolute(file: str | None) -> str | None:
    return str(Path(file).absolute()) if file else None


@define
class _Run:
    """A session and the user's file or files.

    Attributes:
        held: The text that both the file and the engine's current script descend from.
    """

    document: UserDocument
    held: str
    answers: Answers
    view: View

    async def drive(self, params: wire.StartParams | wire.ResumeParams) -> int:
        """Show what happens, pass on what the user says, write what they accept."""
        events: asyncio.Queue[e.SessionEvent] = asyncio.Queue()
        engine, session = await EngineProcess.start(events.put_nowait), ""
        try:
            if isinstance(params, wire.ResumeParams):
                began = await engine.resume(params)
                session, self.held = began.session, began.script
            else:
                session = (await engine.begin(params)).session
            return await self._follow(engine, events)
        except asyncio.CancelledError:
            # Ctrl+C is a decision; whatever else goes wrong leaves a session that can be resumed.
            await engine.stop()
            raise
        except (DocumentError, NoAnswerError, EngineError) as error:
            if not session or (isinstance(params, wire.StartParams) and params.replay):
                raise
            dataset = f" --db {shlex.quote(params.db)}" if params.db else ""
            raise BrokenOffError(
                f"{error} Go on with: precision-shaking resume {session}{dataset}"
            ) from error
        finally:
            await engine.close()

    async def _follow(self, engine: EngineProcess, events: asyncio.Queue[e.SessionEvent]) -> int:
        while True:
            event = await events.get()
            self.view.show(event)
            match event:
                case e.ProposalReady():
                    await self._answer(engine, event)
                case e.HelpNeeded():
                    answer = await self.answers.to_help()
                    await engine.help(wire.HelpParams(answer.choice, answer.script))
                case e.StepAccepted(_, script):
                    self._write(script)
                case e.StepRestored(_, script):
                    # Accepted, and then everything broke off before it was written.
                    if self.document.text == self.held:
                        self.document.replace(script)
                    self.held = script
                case e.SessionFinished(_, status):
                    async for told in engine.until_gone(events):
                        self.view.show(told)
                    return _DONE if status == SessionStatus.DONE else _NOT_DONE
                case e.SessionFailed(_, message):
                    raise EngineError(message)
                case _:
                    pass

    async def _answer(self, engine: EngineProcess, proposal: e.ProposalReady) -> None:
        answer = await self.answers.to_proposal()
        if answer.verdict == STOP:
            await engine.request("stop")
            return
        document = None
        if self.document.text != self.held and answer.verdict in (None, Verdict.ACCEPTED):
            # A session that broke off leaves its user the time to edit the file.
            document = self._merged(answer.amended or proposal.script)
        await engine.answer(
            wire.AnswerParams(proposal.attempt, answer.verdict, answer.words, answer.amended, document)
        )

    def _write(self, script: str) -> None:
        self.document.replace(self._merged(script))
        self.held = self.document.text

    def _merged(self, script: str) -> str:
        """The accepted script with what the user edited while the session was broken off."""
        merged = merge(self.held, self.document.text, script)
        if merged.conflicts:
            raise DocumentError(
                f"{self.document.path} was changed in the same lines as the proposal: it is left as it is."
            )
        return merged.text
