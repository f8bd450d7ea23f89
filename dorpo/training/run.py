"""One training, from the dataset to an adapter on disk."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import attrs
from attrs import define, field
from transformers import PrinterCallback, ProgressCallback, set_seed

from dorpo import processes
from dorpo.checks import TOO_LONG
from dorpo.configuration import DORPOConfig
from dorpo.encoding import encode_rows
from dorpo.evaluation.figures import summarize
from dorpo.evaluation.measuring import measure
from dorpo.low_memory import Fit
from dorpo.store import Store
from dorpo.student import LoraSettings, Student, StudentError, load_student
from dorpo.trained_folder import remove_adapter
from dorpo.training.advice import advice
from dorpo.training.callbacks import ReportProgress, StopWhenAsked
from dorpo.training.cancellation import Cancellation, TrainingCancelledError
from dorpo.training.checkpoints import Checkpoint
from dorpo.training.data import count_rows
from dorpo.training.events import TrainingEvaluated, TrainingEvent, TrainingFinished, TrainingStarted
from dorpo.training.plan import TrainingPlan, choose_device, make_plan, time_forward
from dorpo.training.request import LEARNING, Snapshot, TrainingRefusedError, TrainingRequest
from dorpo.training.resumable import LOW_MEMORY, ResumableTrainer
from dorpo.training.resuming import identity

# For students that do not say how much they can read.
_UNKNOWN_WINDOW = 8192
# The first step of a warm-up has the learning rate 0: a short training cannot spare it.
_WARMUP, _STEPS_TO_WARM_UP = 0.1, 20
# Of what is measured before and after; `python -m dorpo evaluate` measures the rest.
_TOLD = ("pair_accuracy", "chosen_perplexity", "kl")
# What another training needs in order to be compared with this one.
_REPEATED = ("seed", "split_seed", "holdout", "max_length", *LEARNING)


@define(eq=False)
class Training:
    """A training under way; of several processes, the first one keeps and reports what comes of it.

    Attributes:
        request: What was asked for.
        data: The dataset's rows, see `dorpo.training.request.read_rows`.
        report: Gets every event.
        cancellation: The user's wish to stop.
        checkpoint: Where to go on from, see `dorpo.training.resuming`.
        uid: Its name in the dataset.
    """

    request: TrainingRequest
    data: Snapshot
    report: Callable[[TrainingEvent], None]
    cancellation: Cancellation
    checkpoint: Checkpoint | None = None
    uid: str = field(factory=lambda: uuid.uuid4().hex)
    _begun: float = field(factory=time.monotonic, init=False)
    _figures: dict[str, Any] = field(factory=dict, init=False)
    _log: list[dict[str, float]] = field(factory=list, init=False)
    _last_step: int = field(default=0, init=False)

    def run(self) -> str:
        """Train, and leave an adapter in the output folder.

        Returns:
            "done", or "cancelled" when the wish to stop came after everything was loaded.

        Raises:
            TrainingRefusedError: The device, the student or the rows do not allow it.
            TrainingCancelledError: The wish to stop came before there was anything to keep.
        """
        with self.cancellation.interruptible():
            device = choose_device(self.request.device)
            processes.join(device)
            self._agree()
            student = self._load(device)
            window = getattr(student.model.config, "max_position_embeddings", None) or _UNKNOWN_WINDOW
            groups = encode_rows(self.data.rows, student.tokens, top_k=self.request.top_k)
            plan = make_plan(groups, self.request, window)
            trainer = self._trainer(student, plan, device)
            seconds = plan.seconds(time_forward(student.model)) / processes.count()
        first = processes.rank() == 0
        if first:
            self._begin(student, plan, seconds, trainer.fit)
        try:
            self._train(trainer, student, plan)
            status = "cancelled" if self.cancellation.requested else "done"
        except TrainingCancelledError:
            status = "cancelled"
        except BaseException as error:
            if first:
                self._end("failed", f"{type(error).__name__}: {error}")
            raise
        if first:
            self._save(student, plan, status, low_memory=trainer.fit.low_memory)
            self._end(status, None)
        processes.leave()
        return status

    def _agree(self) -> None:
        """See that all processes have read the same: rows may be added at any moment."""
        if len(set(processes.gathered(self.data.fingerprint))) > 1:
            raise TrainingRefusedError("The dataset changed while the training started: start it again.")

    def _load(self, device: str) -> Student:
        asked = self.request
        set_seed(asked.seed)
        try:
            return load_student(
                asked.student,
                device=device,
                lora=None if asked.full else LoraSettings(asked.lora_rank, asked.lora_alpha),
                exact=asked.full or asked.bf16 is False,
                quantized=asked.qlora,
                checkpointing=asked.gradient_checkpointing,
                allow_download=asked.allow_download,
            )
        except StudentError as error:
            raise TrainingRefusedError(str(error)) from error

    def _trainer(self, student: Student, plan: TrainingPlan, device: str) -> ResumableTrainer:
        about = identity(self.request, self.data.fingerprint)
        try:
            config = self._config(plan, device)
            trainer = ResumableTrainer(student.model, config, plan.trained, about=about)
        except ValueError as error:
            raise TrainingRefusedError(str(error)) from error
        # The Trainer's own progress goes to standard output, which belongs to ours.
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        return trainer

    def _begin(self, student: Student, plan: TrainingPlan, seconds: float, fit: Fit) -> None:
        rows = [uid for group in plan.trained for uid in group.rows]
        config = {name: str(value) for name, value in attrs.asdict(self.request).items()}
        with Store.open(self.request.db, create=False) as store:
            store.start_training(
                self.uid,
                dataset_sha256=self.data.fingerprint,
                rows=rows,
                student=student.name,
                config=json.dumps(config | {"dropped": self._dropped(plan)}),
                output=str(self.request.output.absolute()),
            )
        device = next(student.model.parameters()).device.type
        self.report(
            TrainingStarted(
                run=self.uid,
                found=len(self.data.rows) + sum(self.data.dropped.values()),
                dropped=self._dropped(plan),
                rows=len(rows),
                prompts=len(plan.trained),
                held_out=len(plan.held_out),
                held_out_rows=sum(len(group.rows) for group in plan.held_out),
                tokens=plan.tokens,
                student=student.name,
                device=device,
                steps=plan.steps,
                estimate_seconds=round(seconds, 1),
                estimate_bytes=fit.memory.total,
                free_bytes=fit.room,
                low_memory=fit.low_memory,
                advice=advice(fit, self.request, device),
            )
        )

    def _dropped(self, plan: TrainingPlan) -> dict[str, int]:
        return {**self.data.dropped, **({TOO_LONG: plan.skipped} if plan.skipped else {})}

    def _train(self, trainer: ResumableTrainer, student: Student, plan: TrainingPlan) -> None:
        begun = time.monotonic()
        self._evaluate(student, plan, "before")
        trainer.add_callback(StopWhenAsked(self.cancellation))
        trainer.add_callback(ReportProgress(self.report, seconds_after=time.monotonic() - begun))
        trainer.go_on(self.checkpoint)
        self._last_step, self._log = trainer.state.global_step, trainer.state.log_history
        self._evaluate(student, plan, "after")

    def _evaluate(self, student: Student, plan: TrainingPlan, when: str) -> None:
        with self.cancellation.interruptible():
            figures = summarize(measure(student.model, plan.measured), seed=self.request.seed)
        result = {name: getattr(figures, name) for name in _TOLD}
        self._figures[when] = result
        on = "held-out rows" if plan.held_out else "training rows"
        self.report(TrainingEvaluated(when=when, on=on, **result))

    def _config(self, plan: TrainingPlan, device: str) -> DORPOConfig:
        return DORPOConfig(
            output_dir=str(self.request.output),
            max_steps=plan.steps,
            groups_per_step=plan.per_step,
            max_length=self.request.max_length,
            warmup_steps=_WARMUP if plan.steps >= _STEPS_TO_WARM_UP else 0,
            seed=self.request.seed,
            low_memory=self._low_memory,
            use_cpu=device == "cpu",
            bf16=self.request.bf16,
            activation_checkpointing=self.request.gradient_checkpointing,
            report_to=self.request.report_to,
            save_strategy="steps" if self.request.save_steps else "no",
            save_steps=self.request.save_steps or 1,
            **{name: getattr(self.request, name) for name in LEARNING},
        )

    @property
    def _low_memory(self) -> bool | None:
        """What was asked for, else what the training did before it was interrupted."""
        asked = self.request.low_memory
        return self.checkpoint.about.get(LOW_MEMORY) if asked is None and self.checkpoint else asked

    def _save(self, student: Student, plan: TrainingPlan, status: str, *, low_memory: bool) -> None:
        """The adapter, its tokenizer, and how it came to be."""
        output, seconds = self.request.output, round(time.monotonic() - self._begun, 1)
        uids = {uid for group in plan.trained for uid in group.rows}
        trained = [row for row in self.data.rows if row.uid in uids]
        if self.request.full:
            remove_adapter(output)
        student.model.save_pretrained(output)
        student.tokens.tokenizer.save_pretrained(output)
        about = {
            "run": self.uid,
            "status": status,
            "student": student.name,
            "dataset_sha256": self.data.fingerprint,
            "last_step": self._last_step,
            "seconds": seconds,
            "data": count_rows(trained),
            "dropped": self._dropped(plan),
            # An evaluation must know later what was never seen, even when the dataset has grown.
            "trained_sessions": sorted({row.session for row in trained}),
            "held_out_sessions": sorted({group.session for group in plan.held_out}),
            "settings": {name: getattr(self.request, name) for name in _REPEATED}
            | {"groups_per_step": plan.per_step, "low_memory": low_memory},
            **self._figures,
            "log": self._log,
        }
        (output / "metrics.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        self.report(
            TrainingFinished(
                status=status, output=str(output.absolute()), seconds=seconds, metrics=self._figures
            )
        )

    def _end(self, status: str, error: str | None) -> None:
        with Store.open(self.request.db, create=False) as store:
            store.finish_training(self.uid, status, self._last_step, json.dumps(self._figures), error)
