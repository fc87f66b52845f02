"""What every actor is made of, whatever its kind."""
