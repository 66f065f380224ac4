"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "ff2712ed810d09f803514c35e58806bcbcdd33fc4effb0f08b781aa2b6e003ec"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
