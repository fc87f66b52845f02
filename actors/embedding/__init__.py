"""Holdfast inside another program: a fleet, a robot's loop, a policy to serve."""
