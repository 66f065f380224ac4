"""Alipay's own side, sans-I/O: serve it over HTTP on a laptop, or run it inline in a simulation."""

from paycore_alipay.simulator.books import Books, NotPayable, Refund, Trade
from paycore_alipay.simulator.faults import Fault, Faults, NoticeFault, RefundEnd
from paycore_alipay.simulator.keys import KeyRing, shared_ring
from paycore_alipay.simulator.phone import Claim, Payer, Phone
from paycore_alipay.simulator.postbox import LADDER
from paycore_alipay.simulator.server import MERCHANTS, AlipaySimulator, Call, CodeAnswer, Merchant

__all__ = [
    "LADDER",
    "MERCHANTS",
    "AlipaySimulator",
    "Books",
    "Call",
    "Claim",
    "CodeAnswer",
    "Fault",
    "Faults",
    "KeyRing",
    "Merchant",
    "NotPayable",
    "NoticeFault",
    "Payer",
    "Phone",
    "Refund",
    "RefundEnd",
    "Trade",
    "shared_ring",
]
