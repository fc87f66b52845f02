"""Committed benchmarks: each prints p50 / p99 / max, n and the machine, peers in the same run."""
