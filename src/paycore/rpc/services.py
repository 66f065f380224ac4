"""Every service with what it needs, by its full name: what the pipeline serves."""

from paycore.engine import Engine
from paycore.rpc.cashier import CashierService
from paycore.rpc.channels import ChannelService
from paycore.rpc.notices import NoticeService
from paycore.rpc.orders import OrderService
from paycore.rpc.pages import Pages
from paycore.rpc.policy import CASHIER, CHANNEL, NOTICE, ORDER, REFUND
from paycore.rpc.refunds import RefundService
from paycore.rpc.watch import Watches
from paycore.v1 import cashier_pb2, channel_pb2, notice_pb2, order_pb2, refund_pb2

DESCRIPTORS = tuple(
    module.DESCRIPTOR.services_by_name[name.rpartition(".")[2]]
    for module, name in (
        (order_pb2, ORDER),
        (cashier_pb2, CASHIER),
        (refund_pb2, REFUND),
        (channel_pb2, CHANNEL),
        (notice_pb2, NOTICE),
    )
)
"""The services of the contract, as `methods_of` wants them."""


def services_of(engine: Engine, watches: Watches) -> dict[str, object]:
    """The services on one engine, by full name. `watches` is shared by all of them; stop it with the server."""
    pages = Pages(engine.keyring.derive_all("page tokens"))
    return {
        ORDER: OrderService(pages, watches),
        CASHIER: CashierService(watches),
        REFUND: RefundService(pages, watches),
        CHANNEL: ChannelService(pages),
        NOTICE: NoticeService(),
    }
