"""WeChat Pay's own side, sans-I/O: serve it over HTTP on a laptop, or run it inline in a simulation."""

from paycore_wechatpay.simulator.books import Books, NotPayable, Refund, Trade
from paycore_wechatpay.simulator.faults import Charge, Fault, Faults, NoticeFault, RefundEnd
from paycore_wechatpay.simulator.phone import Claim, Payer, Phone
from paycore_wechatpay.simulator.postbox import LADDER
from paycore_wechatpay.simulator.sdk import Rejected
from paycore_wechatpay.simulator.server import Call, WechatPaySimulator

__all__ = [
    "LADDER",
    "Books",
    "Call",
    "Charge",
    "Claim",
    "Fault",
    "Faults",
    "NotPayable",
    "NoticeFault",
    "Payer",
    "Phone",
    "Refund",
    "RefundEnd",
    "Rejected",
    "Trade",
    "WechatPaySimulator",
]
