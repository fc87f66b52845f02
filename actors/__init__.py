"""The processes: each a pure core beside a thin shell."""
