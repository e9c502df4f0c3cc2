"""Many writes with one command."""
