"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "fa00514dc5c608caca72ca03a969ad184d93900464f33cea42cc5fd4cec6b349"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
