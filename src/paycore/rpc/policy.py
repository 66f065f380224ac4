"""Who may call what. A method without a line here cannot be served: start-up fails."""

from dataclasses import dataclass
from enum import StrEnum

KIB = 1024


class Scope(StrEnum):
    """What a key may do. An app has scopes, each of its keys has some of them."""

    ORDERS_READ = "orders:read"
    ORDERS_WRITE = "orders:write"
    PAYMENTS_WRITE = "payments:write"
    CASHIER_CREATE = "cashier:create"
    CASHIER_READ = "cashier:read"
    REFUNDS_READ = "refunds:read"
    REFUNDS_WRITE = "refunds:write"
    ANOMALIES_READ = "anomalies:read"
    ANOMALIES_WRITE = "anomalies:write"
    CHANNELS_READ = "channels:read"
    NOTICES_DELIVER = "notices:deliver"


BUSINESS_SCOPES = frozenset(Scope) - {Scope.NOTICES_DELIVER}
"""What a business's own key has unless somebody says otherwise: everything but forwarding channels' notices."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The scope that a key needs, whether a session's token will do as well, and how large a request may be."""

    scope: Scope
    takes_session: bool = False
    max_request_bytes: int = 64 * KIB


ORDER = "paycore.v1.OrderService"
CASHIER = "paycore.v1.CashierService"
REFUND = "paycore.v1.RefundService"
CHANNEL = "paycore.v1.ChannelService"
NOTICE = "paycore.v1.NoticeService"

NOTICE_BYTES = (256 + 64) * KIB
"""A notice's body of 256 KiB with its headers and path; also the most that the gRPC server takes at all."""

POLICIES: dict[str, Policy] = {
    f"{ORDER}.CreateOrder": Policy(Scope.ORDERS_WRITE),
    f"{ORDER}.GetOrder": Policy(Scope.ORDERS_READ),
    f"{ORDER}.ListOrders": Policy(Scope.ORDERS_READ),
    f"{ORDER}.PayOrder": Policy(Scope.PAYMENTS_WRITE),
    f"{ORDER}.SyncOrder": Policy(Scope.ORDERS_WRITE),
    f"{ORDER}.CloseOrder": Policy(Scope.ORDERS_WRITE),
    f"{ORDER}.ListOrderEvents": Policy(Scope.ORDERS_READ),
    f"{ORDER}.ExplainOrder": Policy(Scope.ORDERS_READ),
    f"{ORDER}.WatchOrder": Policy(Scope.ORDERS_READ),
    f"{ORDER}.WatchOrders": Policy(Scope.ORDERS_READ),
    f"{ORDER}.ListAnomalies": Policy(Scope.ANOMALIES_READ),
    f"{ORDER}.ResolveAnomaly": Policy(Scope.ANOMALIES_WRITE),
    f"{CASHIER}.CreateCashierSession": Policy(Scope.CASHIER_CREATE),
    f"{CASHIER}.GetCashierSession": Policy(Scope.CASHIER_READ, takes_session=True),
    f"{CASHIER}.SubmitPayment": Policy(Scope.PAYMENTS_WRITE, takes_session=True),
    f"{CASHIER}.ReportClientResult": Policy(Scope.PAYMENTS_WRITE, takes_session=True),
    f"{CASHIER}.ConfirmPayment": Policy(Scope.PAYMENTS_WRITE, takes_session=True),
    f"{CASHIER}.WatchCashierSession": Policy(Scope.CASHIER_READ, takes_session=True),
    f"{REFUND}.CreateRefund": Policy(Scope.REFUNDS_WRITE),
    f"{REFUND}.GetRefund": Policy(Scope.REFUNDS_READ),
    f"{REFUND}.ListRefunds": Policy(Scope.REFUNDS_READ),
    f"{REFUND}.SyncRefund": Policy(Scope.REFUNDS_WRITE),
    f"{REFUND}.RetryRefund": Policy(Scope.REFUNDS_WRITE),
    f"{REFUND}.WatchRefund": Policy(Scope.REFUNDS_READ),
    f"{CHANNEL}.ListChannels": Policy(Scope.CHANNELS_READ),
    f"{CHANNEL}.GetChannel": Policy(Scope.CHANNELS_READ),
    f"{NOTICE}.DeliverNotice": Policy(Scope.NOTICES_DELIVER, max_request_bytes=NOTICE_BYTES),
}
