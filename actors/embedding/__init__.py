"""Holdfast inside somebody else's program: a fleet, a robot's loop, a policy to serve."""
