"""fleet.yaml: its types (schema.py), what may be wrong (checks.py), its actors (expand.py)."""
