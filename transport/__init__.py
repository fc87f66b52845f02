"""What travels: frames on the wire and in shared memory. Knows no actor, policy or robot."""
