"""A camera, in a process of its own."""
