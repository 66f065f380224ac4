"""What the store sold, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MILLI = 1000


@dataclass(slots=True)
class Sale:
    """One transaction. Money is in thousandths of the currency's unit, as Apple writes it."""

    transaction_id: str
    original_id: str
    bundle_id: str
    product_id: str
    token: str
    quantity: int
    price_milli: int
    currency: str
    bought_at: int
    kind: str = "Consumable"
    reason: str = "PURCHASE"
    ownership: str = "PURCHASED"
    revoked_at: int | None = None
    revocation: str = ""
    share_milli: int = 0
    is_finished: bool = False

    def document(self, environment: str, now: int) -> dict[str, Any]:
        """The transaction as it stands, to be signed now."""
        said: dict[str, Any] = {
            "transactionId": self.transaction_id,
            "originalTransactionId": self.original_id,
            "bundleId": self.bundle_id,
            "productId": self.product_id,
            "purchaseDate": self.bought_at // MILLI,
            "originalPurchaseDate": self.bought_at // MILLI,
            "quantity": self.quantity,
            "type": self.kind,
            "inAppOwnershipType": self.ownership,
            "signedDate": now // MILLI,
            "environment": environment,
            "transactionReason": self.reason,
            "storefront": "CHN",
            "storefrontId": "143465",
            "price": self.price_milli,
            "currency": self.currency,
        }
        if self.token:
            said["appAccountToken"] = self.token
        if self.revoked_at is not None:
            said |= {"revocationDate": self.revoked_at // MILLI, "revocationReason": 0}
            said |= {"revocationType": self.revocation, "revocationPercentage": self.share_milli}
        return said


@dataclass(slots=True)
class Letter:
    """A notification and how far its delivery has come."""

    key: str
    kind: str
    payload: dict[str, Any]
    transaction_id: str
    due_at: int
    tries: int = 0
    is_under_way: bool = False
