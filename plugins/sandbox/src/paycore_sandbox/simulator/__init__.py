"""The channel's own side, sans-I/O: serve it over HTTP on a laptop, or run it inline in a simulation."""

from paycore_sandbox.simulator.books import Books, NotPayable, Refund, Trade
from paycore_sandbox.simulator.faults import Fault, Faults, NoticeFault, RefundEnd
from paycore_sandbox.simulator.phone import Claim, Payer, Phone
from paycore_sandbox.simulator.postbox import LADDER
from paycore_sandbox.simulator.server import Call, SandboxSimulator

__all__ = [
    "LADDER",
    "Books",
    "Call",
    "Claim",
    "Fault",
    "Faults",
    "NotPayable",
    "NoticeFault",
    "Payer",
    "Phone",
    "Refund",
    "RefundEnd",
    "SandboxSimulator",
    "Trade",
]
