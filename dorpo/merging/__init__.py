"""A model to take along: the adapter merged into its student, a model card, a GGUF."""
