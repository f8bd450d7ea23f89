"""Running a script that a model wrote without letting it near the machine."""
