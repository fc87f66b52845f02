"""Supervision: what keeps a host's actors running. `core` decides, `supervisor` carries out."""
