"""Supervision keeps a host's actors running: `state_machine` decides, `supervisor` carries out."""
