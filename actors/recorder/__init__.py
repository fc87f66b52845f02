"""Datasets of what robots did, recorded off the control process."""
