"""The control loop: the tick, the plan and the fail-safe. Imports neither torch nor policy."""
