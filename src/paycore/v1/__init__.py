"""The stubs of protos/paycore/v1. Made by `make gen`; never edited."""

PROTOS_SHA256 = "56ff89834ddf2e68944929f1bc9b4e838fe25e9abae3829a56e467974e487d79"
"""Of the protos that these stubs were made from; a test compares it with the texts."""
