"""A payment core: one cashier, one order, one refund, whatever the channel."""

__version__ = "0.1.0"
