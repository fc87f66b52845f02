"""What predicts chunks. Knows no actor, robot or transport."""
