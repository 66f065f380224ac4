"""Listens: one transport-neutral pipeline (who, how often, what, do it, how it failed) and gRPC on top of it."""
