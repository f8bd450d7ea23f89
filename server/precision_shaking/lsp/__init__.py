"""What an editor talks to: the only part that speaks LSP."""
