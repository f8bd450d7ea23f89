"""SAPE instances: declarations of agents, edges, documents and execution. The engine knows none by name."""
