"""The fleet file: what may be said (`document`), what may be wrong (`faults`), what it starts."""
