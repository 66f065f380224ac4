"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "786019821bc59ee4aef91acc6caa2998861ea63d5d8c51a435f1ac5dfacfe460"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
