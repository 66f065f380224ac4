"""Channels' simulators for tests: over HTTP on this machine, or with their notices brought inside one process."""

from paycore.engine.simulators import Postman, Receiver, SimulatorServer

__all__ = ["Postman", "Receiver", "SimulatorServer"]
