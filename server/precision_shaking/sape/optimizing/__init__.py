"""Better prompts for the agents, from what the user decided; compiled in a process of its own."""
