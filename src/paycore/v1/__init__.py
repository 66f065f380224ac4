"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "4c8ec48fd6dd99b0fdf81124fca9870792bfaa8cf6a52ee30ebc549eca7738ab"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
