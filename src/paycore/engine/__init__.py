"""Acts: the only floor that does things. It tells facts, carries conversations, and does what is due."""

from paycore.engine.facade import Engine

__all__ = ["Engine"]
