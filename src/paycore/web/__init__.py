"""Listens: HTTP. Channels' notices, whether we are alive and ready, and the figures."""
