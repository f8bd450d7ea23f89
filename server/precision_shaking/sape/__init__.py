"""SAPE, the semi-autonomous production engine: agents, workflow, execution. It knows nothing of editors."""
