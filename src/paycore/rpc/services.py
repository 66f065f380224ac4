"""Every service of ours by its full name, and the descriptors that say which RPCs each must have."""

from typing import Any, Final

from paycore.rpc.cashier import CashierService
from paycore.rpc.channels import ChannelService
from paycore.rpc.notices import NoticeService
from paycore.rpc.orders import OrderService
from paycore.rpc.pages import Pages
from paycore.rpc.policy import CASHIER, CHANNEL, NOTICE, ORDER, REFUND
from paycore.rpc.refunds import RefundService
from paycore.rpc.watch import Watches
from paycore.v1 import cashier_pb2, channel_pb2, notice_pb2, order_pb2, refund_pb2

DESCRIPTORS: Final[list[Any]] = [
    service
    for module in (order_pb2, cashier_pb2, refund_pb2, channel_pb2, notice_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


def services(watches: Watches, pages: Pages) -> dict[str, object]:
    """The functions behind every RPC."""
    return {
        ORDER: OrderService(pages, watches),
        CASHIER: CashierService(watches),
        REFUND: RefundService(pages, watches),
        CHANNEL: ChannelService(pages),
        NOTICE: NoticeService(),
    }
