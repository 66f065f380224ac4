"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "c9790b3e8d246809ab968430acb53a43bd236cae2d3b33993d79adf7263500f4"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
