"""Thinks: what every fact about money means. Pure: no time, no randomness, no I/O."""
