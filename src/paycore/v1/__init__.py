"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "6720a43b6bf177351e53f5eeb1f4e29149d9136b98c23fb41c9be838f15edc5c"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
