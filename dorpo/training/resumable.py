"""A trainer whose checkpoints survive a kill at any moment."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from dorpo import processes
from dorpo.trainer import DORPOTrainer
from dorpo.training import checkpoints
from dorpo.training.checkpoints import Checkpoint

# How steps are computed, which a training that goes on does not change by itself.
LOW_MEMORY = "low_memory"


class ResumableTrainer(DORPOTrainer):
    """Writes its checkpoints by way of `dorpo.training.checkpoints`."""

    def __init__(self, *arguments: Any, about: Mapping[str, Any], **others: Any) -> None:
        """Take what `DORPOTrainer` takes, and what the manifests say of this training."""
        super().__init__(*arguments, **others)
        self._about = about
        self._scratch: Path | None = None

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        output = Path(str(self.args.output_dir))
        about = {**self._about, LOW_MEMORY: self.fit.low_memory}
        publishing = checkpoints.publishing(output, self.state.global_step, about)
        # The first process publishes what all have written.
        with publishing if processes.rank() == 0 else nullcontext() as scratch:
            self._scratch = processes.gathered(scratch)[0]
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._scratch = None
                processes.gathered(None)
        # Nobody goes on before it is there.
        processes.gathered(None)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._scratch) if self._scratch else super()._get_output_dir(trial)

    def go_on(self, checkpoint: Checkpoint | None) -> None:
        """Train from a checkpoint to the end, or from the beginning without one."""
        if checkpoint is None:
            self.train()
        elif checkpoint.step < self.args.max_steps:
            self.train(resume_from_checkpoint=str(checkpoint.folder))
        else:
            # Killed after its last step: the Trainer would take one more.
            self._load_from_checkpoint(str(checkpoint.folder))
            state = checkpoint.folder / "trainer_state.json"
            self.state = type(self.state).load_from_json(str(state))
