"""Programs of the benchmarks that run in interpreters with another project's own packages."""
