"""The preference dataset, and distillation-oriented odds ratio preference optimization (DORPO) on it."""
