"""The network actor: one robot's way to its service."""
