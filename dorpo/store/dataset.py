"""The dataset of one user: every session, what was tried in it, and the rows that came out."""

from __future__ import annotations

from collections.abc import Sequence

from dorpo.rendering import MAX_WHOLE_LINES, render_prompt
from dorpo.softlabels import TokenScore
from dorpo.store.errors import StoreError
from dorpo.store.journals import SessionJournals
from dorpo.store.labelling import PackedLabels, insert_labels
from dorpo.store.pairing import write_chosen, write_rejected
from dorpo.store.reader import DatasetReader
from dorpo.store.records import AttemptRecord
from dorpo.store.relabelling import relabel, settle
from dorpo.store.tables import now, storable
from dorpo.store.trainings import begin_training, end_training, trainings_of_session


class Store(DatasetReader, SessionJournals):
    """The dataset's file, open. Every method that writes is one transaction: all of it is on disk, or none.

    Several of them together are one inside of `transaction()`.

    It may be used from several threads, one at a time; several processes may have the same file open.
    Every method raises StoreError, with a sentence for the user, when the file refuses.
    """

    # Sessions

    def start_session(
        self,
        *,
        uid: str,
        document: str,
        language: str,
        request: str,
        script: str,
        instance: str,
        app_version: str,
        settings: str | None = None,
    ) -> None:
        """Begin a session on a document that holds `script`; with `settings` it can be resumed."""
        with self._tables.write():
            self._tables.insert(
                "session",
                uid=uid,
                created_at=now(),
                document=document,
                language=language,
                request=self._tables.text(request),
                script=self._tables.text(script),
                instance=instance,
                app_version=app_version,
                settings=settings,
            )

    def end_session(self, uid: str, status: str) -> None:
        """Close a session as done, abandoned or crashed."""
        with self._tables.write():
            session = self._tables.session(uid)
            self._tables.run(
                "UPDATE session SET status = ?, ended_at = ? WHERE id = ?", status, now(), session
            )
            for (step,) in self._tables.all("SELECT id FROM step WHERE session_id = ?", session):
                settle(self._tables, step)

    def delete_session(self, uid: str) -> list[str]:
        """Forget a session: nothing of it stays in the file.

        Returns:
            Uids of the trainings that have used rows of it; what they learned cannot be taken back.
        """
        with self._tables.write():
            session = self._tables.session(uid)
            trainings = trainings_of_session(self._tables, session)
            self._tables.run("DELETE FROM session WHERE id = ?", session)
            self._tables.run("DELETE FROM text WHERE id NOT IN (SELECT text_id FROM text_use)")
        with self._tables.read():
            # Until then, the write-ahead log still has what was deleted.
            self._tables.run("PRAGMA wal_checkpoint(TRUNCATE)")
        return trainings

    def add_agent_call(
        self,
        session_uid: str,
        *,
        agent: str,
        teacher: str,
        request: str,
        response: str | None,
        status: str,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        seconds: float | None = None,
        cost_usd: float | None = None,
        step: int | None = None,
        cycle: int | None = None,
    ) -> None:
        """Keep a call of an agent, a failed one too; `request` is its messages as JSON."""
        with self._tables.write():
            self._tables.insert(
                "agent_call",
                session_id=self._tables.session(session_uid),
                created_at=now(),
                agent=agent,
                teacher=teacher,
                request=self._tables.text(request),
                response=None if response is None else self._tables.text(response),
                status=status,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                seconds=seconds,
                cost_usd=cost_usd,
                step=step,
                cycle=cycle,
            )

    # Steps

    def add_steps(self, session_uid: str, texts: Sequence[str]) -> None:
        """Store the plan of a session; its steps count from 0."""
        with self._tables.write():
            session = self._tables.session(session_uid)
            for n, text in enumerate(texts):
                self._tables.insert("step", session_id=session, n=n, text=storable(text))

    def fix_prompt(
        self,
        session_uid: str,
        step: int,
        *,
        instruction: str,
        script: str,
        max_whole_lines: int = MAX_WHOLE_LINES,
    ) -> None:
        """Set the prompt of all rows of a step; afterwards it can only be set to the same again."""
        with self._tables.write():
            step_id = self._tables.step(session_uid, step).id
            prompt = self._tables.text(render_prompt(instruction, script, max_whole_lines))
            self._tables.run("UPDATE step SET prompt = ? WHERE id = ? AND prompt IS NULL", prompt, step_id)
            if self._tables.one("SELECT prompt FROM step WHERE id = ?", step_id) != (prompt,):
                raise StoreError(f"Step {step} of session {session_uid} has another prompt already.")

    def abandon_step(self, session_uid: str, step: int) -> None:
        """Give up a step: its rows get no chosen, unless `relabel` called one of its attempts accepted.

        An accepted step stays accepted.
        """
        with self._tables.write():
            step_id = self._tables.step(session_uid, step).id
            self._tables.run("UPDATE step SET status = 'abandoned' WHERE id = ? AND status = 'open'", step_id)
            settle(self._tables, step_id)

    # Attempts

    def add_attempt(self, session_uid: str, step: int, attempt: AttemptRecord) -> None:
        """Store what a worker, or the user, made of a step."""
        labels = PackedLabels.of(attempt.soft_labels, attempt.teacher) if attempt.soft_labels else None
        with self._tables.write():
            step_id = self._tables.step(session_uid, step).id
            attempt_id = self._tables.insert(
                "attempt",
                uid=attempt.uid,
                step_id=step_id,
                created_at=now(),
                cycle=attempt.cycle,
                cause=attempt.cause,
                author=attempt.author,
                instruction=self._tables.text(attempt.instruction),
                base_script=self._tables.text(attempt.base_script),
                response=self._tables.text(attempt.response),
                reasoning=self._tables.text(attempt.reasoning),
                script=self._tables.text(attempt.script),
                teacher=attempt.teacher,
                finish_reason=attempt.finish_reason,
                input_tokens=attempt.input_tokens,
                output_tokens=attempt.output_tokens,
                seconds=attempt.seconds,
            )
            if labels is not None:
                insert_labels(self._tables, attempt_id, labels)

    def add_soft_labels(self, attempt_uid: str, scores: Sequence[TokenScore], teacher: str) -> bool:
        """Give an attempt what a model thinks of its response.

        Args:
            attempt_uid: Whose.
            scores: One for each token of the response.
            teacher: The model.

        Returns:
            Whether they were stored: an attempt keeps the soft labels that it has.
        """
        labels = PackedLabels.of(scores, teacher)
        with self._tables.write():
            return insert_labels(self._tables, self._tables.attempt(attempt_uid).id, labels)

    def add_run(
        self,
        attempt_uid: str,
        *,
        backend: str,
        outcome: str,
        exit_code: int | None,
        output: str,
        seconds: float,
    ) -> None:
        """Store how running an attempt's script ended."""
        with self._tables.write():
            self._tables.insert(
                "run",
                attempt_id=self._tables.attempt(attempt_uid).id,
                created_at=now(),
                backend=backend,
                outcome=outcome,
                exit_code=exit_code,
                output=self._tables.text(output),
                seconds=seconds,
            )

    def add_feedback(self, attempt_uid: str, *, words: str, verdict: str, decided_by: str) -> None:
        """Store what the user said of an attempt, and who made a verdict of it: the user or the analyzer."""
        with self._tables.write():
            self._tables.insert(
                "feedback",
                attempt_id=self._tables.attempt(attempt_uid).id,
                created_at=now(),
                words=storable(words),
                verdict=verdict,
                decided_by=decided_by,
            )

    def relabel(self, attempt_uid: str, verdict: str) -> None:
        """Correct the verdict on an attempt; it counts as the user's own from then on, and so do the rows.

        To redo or further_edit: the attempt has a row as the rejected one, with that reason. If it was the
        step's chosen, the step is abandoned and all of its rows are incomplete.
        To accepted: the attempt is nobody's rejected any more. If the step has no chosen, the attempt becomes
        it, as `accept` would make it, and all of the step's rows are complete; if it has one, that one stays.
        A step that its session still works on is closed by the session's own next answers; only when it ends
        without an accepted attempt (skipped, stopped, crashed) the corrected one becomes the chosen.
        Where the user had amended the attempt, their text is the chosen, and the attempt then has its row.
        The same verdict again only says that the user agrees.

        Raises:
            StoreError: Nothing was said about the attempt, or the verdict is none of the three.
        """
        with self._tables.write():
            relabel(self._tables, self._tables.attempt(attempt_uid), verdict)

    # Rows

    def reject(self, attempt_uid: str, reason: str) -> str:
        """Write the row that has this attempt as its rejected side; its chosen side stays empty for now.

        Returns:
            The row's uid; the same one when the attempt is rejected again.
        """
        with self._tables.write():
            attempt = self._tables.attempt(attempt_uid)
            return write_rejected(self._tables, attempt.id, attempt.step_id, reason)

    def accept(self, session_uid: str, step: int, attempt_uid: str) -> list[str]:
        """Make this attempt the chosen side of every row of its step, or of one new row without a rejected.

        Where the attempt is the user's amended text, the worker's of that cycle becomes a rejected one.

        Returns:
            Uids of the step's rows.
        """
        with self._tables.write():
            place = self._tables.step(session_uid, step)
            return write_chosen(self._tables, place, self._tables.attempt(attempt_uid))

    # Trainings

    def start_training(
        self, uid: str, *, dataset_sha256: str, rows: Sequence[str], student: str, config: str, output: str
    ) -> None:
        """Store that a training begins: on which rows (their uids), of which student, with which settings."""
        about = {"dataset_sha256": dataset_sha256, "student": student, "config": config, "output": output}
        with self._tables.write():
            begin_training(self._tables, rows, uid=uid, **about)

    def finish_training(
        self, uid: str, status: str, last_step: int | None, metrics: str | None, error: str | None
    ) -> None:
        """Store how a training ended: done, failed or cancelled; `metrics` is JSON."""
        with self._tables.write():
            end_training(self._tables, uid, status, last_step, metrics, error)
