"""What every kind of actor is made of."""
