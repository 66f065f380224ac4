"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "ce87a112ac06a0fdcb0c849e416282ac1cd8c6e6a83c6fe4b3003eeccddf292f"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
