"""One module for each part of the protocol, each with a `register(server)`."""
