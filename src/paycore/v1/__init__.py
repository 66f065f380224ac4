"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "87fa9ea803b1d3f8ff0886b654b77b0abcb605e11578505cd0b6b8b7c9517417"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
