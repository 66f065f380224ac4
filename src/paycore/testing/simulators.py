"""The channels' side for tests: their simulators over HTTP on this machine, or inline with a postman for the notices."""

from paycore.engine.simulators import Postman, Receiver, SimulatorServer

__all__ = ["Postman", "Receiver", "SimulatorServer"]
