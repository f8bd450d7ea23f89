"""A program for `torchrun`: the same trainings in one process or several, and what came of them in a file."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from tiny_models import group, make, related

# Uneven, so that two processes never have the same to do; with one group in a step, one of them has nothing.
GROUPS = [(20, 17, 25, 9), (5, 3, 30), (12, 4), (9, 8, 7, 6, 5), (3, 2, 2)]
# An odd number of them, and more of them than processes.
OTHERS = [(10, 6, 9), (7, 3), (15, 4, 8, 2)]
WAYS: dict[str, dict[str, Any]] = {
    "kv": {"prefix_sharing": "kv", "groups_per_step": 3},
    "low memory": {"low_memory": True, "groups_per_step": 3},
    "checkpointing": {"activation_checkpointing": True, "groups_per_step": 3, "max_tokens_per_batch": 80},
    "one by one": {"prefix_sharing": "off", "groups_per_step": 1},
    "whole": {"prefix_sharing": "tree", "groups_per_step": 5, "per_device_train_batch_size": 5},
}


def train(options: dict[str, Any]) -> tuple[list[dict[str, float]], Any]:
    """What is reported, at the end also of other groups, and the adapter's weights in one row."""
    import torch

    from dorpo.student import LoraSettings, add_adapters
    from dorpo.trainer import DORPOConfig, DORPOTrainer

    model = add_adapters(make("llama"), LoraSettings())
    with tempfile.TemporaryDirectory() as folder:
        config = DORPOConfig(
            output_dir=folder, max_steps=4, learning_rate=1e-2, save_strategy="no", use_cpu=True, **options
        )
        groups = [group(*lengths, seed=seed) for seed, lengths in enumerate(GROUPS)]
        groups.append(related(8, (0, 0, 30), (0, 20, 6), (1, 25, 9), (0, 0, 4), seed=9))
        others = [group(*lengths, seed=seed) for seed, lengths in enumerate(OTHERS, len(GROUPS))]
        trainer = DORPOTrainer(model, config, groups, others)
        trainer.train()
        trainer.evaluate()
    weights = [p.detach().flatten() for p in model.parameters() if p.requires_grad]
    told = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    return told, torch.cat(weights)


def main(output: Path) -> None:
    """Train in every way; the last process, whose numbers must be those of the first, writes them down."""
    import torch

    from dorpo import processes

    results = {name: train(options) for name, options in WAYS.items()}
    if processes.rank() == processes.count() - 1:
        torch.save((processes.count(), results), output)
    processes.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
