"""Replicas whose life and place an engine owns: Ray."""
