"""Seals plans for the bridge: for one business's apps, once, for some minutes. No channel and no order depends on it.

The keys follow from the master keys, so that every server of the ring seals alike and none has to be stored.
"""

import logging
from urllib.parse import urlsplit

from paycore.core.order import Order, Payment
from paycore.engine.clock import Clock
from paycore.engine.host import Host
from paycore.engine.ids import Ids
from paycore.engine.keyring import Keyring
from paycore.store import App
from paycore_bridge import Plan
from paycore_bridge.envelope import BadEnvelope, seal
from paycore_bridge.envelope import Payment as About
from paycore_bridge.keys import KeySet, SigningKey

log = logging.getLogger("paycore.engine.sealing")

ISSUER = "paycore"
_PURPOSE = "bridge envelopes"


class Sealing:
    """Makes envelopes, and publishes the keys that open them."""

    def __init__(self, keyring: Keyring, host: Host, clock: Clock, ids: Ids) -> None:
        self._keys = [SigningKey.derived(seed) for seed in keyring.derive_all(_PURPOSE)]
        self._host = host
        self._clock = clock
        self._ids = ids

    @property
    def published(self) -> str:
        """The key set that apps trust, as JSON (JWKS). Keys of older master keys stay in it as long as those do."""
        return KeySet.of(*self._keys).to_json()

    def seal(self, app: App, order: Order, payment: Payment) -> str:
        """The payment's plan for this business's apps; empty when it lists none, or when no step is left to run."""
        if not app.bridge_audiences or not payment.plan_json or not payment.is_open:
            return ""
        kind = self._host.kind(payment.channel)
        about = About(
            order.order_id,
            payment.payment_id,
            payment.channel,
            payment.method,
            payment.amount_minor,
            payment.currency,
        )
        try:
            return seal(
                Plan.from_json(payment.plan_json),
                about,
                key=self._keys[0],
                issuer=ISSUER,
                audience=app.bridge_audiences,
                jti=self._ids.nonce(),
                now=self._clock.now(),
                origins=origins_of(app),
                bridge=None if kind is None else kind.bridge,
            )
        except BadEnvelope as error:
            log.info("a plan of %s was not sealed: %s", payment.channel, error.code.name)
            return ""


def origins_of(app: App) -> list[str]:
    """The pages that may hand a plan over: those that the app lists as its audience, and those that payers return to."""
    pages = [one.removeprefix("web:") for one in app.bridge_audiences if one.startswith("web:")]
    listed = [f"{parts.scheme}://{parts.netloc}" for parts in map(urlsplit, pages)]
    return list(dict.fromkeys([*listed, *(f"https://{host}" for host in app.return_hosts)]))
