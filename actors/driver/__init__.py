"""A robot's hardware, simulator or environment, in a process of its own."""
