"""Benchmarks: each figure a ratio against its floor or its peer, both measured in the same run."""
