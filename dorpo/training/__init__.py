"""One training: what was asked for, what is planned, its run, its checkpoints, what is told of it."""
