"""What moves and sees: robots, cameras, the simulator. Knows no actor, policy or transport."""
