"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "23f8ad6712b7dd17241fcbd87a93cc42c53e07eb27f40efd19b3825812e48113"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
