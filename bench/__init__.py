"""Benchmarks, each against what a user would do without us, both sides in one run."""
