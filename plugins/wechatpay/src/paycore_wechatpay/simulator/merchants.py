"""The merchants of the simulated WeChat Pay: their keys, how WeChat Pay signs for them, and what they are told of both."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from paycore_wechatpay import signing
from paycore_wechatpay.keys import BOTH, CERTIFICATES, PUBLIC_KEY
from paycore_wechatpay.simulator.vault import Vault, certificate_pem, private_pem, public_pem, serial


@dataclass(slots=True)
class Merchant:
    """A merchant as WeChat Pay has it on file."""

    mchid: str
    appid: str
    version: int = 1
    """Which keys WeChat Pay uses for this merchant now."""
    serials: dict[str, RSAPublicKey] = field(default_factory=dict)
    """The merchant's API certificates that still count."""


class Merchants:
    """All of them. A merchant's keys are made when its settings are first asked for."""

    def __init__(self, vault: Vault, seed: bytes, mode: str) -> None:
        self._vault = vault
        self._seed = seed
        self._mode = mode
        self._known: dict[str, Merchant] = {}

    def settings(self, mchid: str, version: int, *, base_url: str) -> dict[str, str]:
        """What a merchant fills in, with these keys. Secrets are plain text."""
        merchant = self._enrolled(mchid, version)
        settings = {
            "mchid": mchid,
            "appid": merchant.appid,
            "merchant_serial": serial(self._api_certificate(mchid, version)),
            "merchant_key": private_pem(self._vault.key(_merchant_role(mchid, version))),
            "apiv3_key": self.apiv3_key(mchid, version),
            "key_mode": self._mode,
            "base_url": base_url,
            "backup_url": f"{base_url}/api2",
        }
        if self._mode != CERTIFICATES:
            settings["wechatpay_public_key_id"] = self.public_key_id(mchid, version)
            settings["wechatpay_public_key"] = public_pem(self.public_key(mchid, version))
        if self._mode == BOTH:
            settings["platform_certificates"] = certificate_pem(self.platform_certificate(mchid, version))
        return settings

    def _enrolled(self, mchid: str, version: int) -> Merchant:
        appid = f"wx{hashlib.sha256(mchid.encode()).hexdigest()[:16]}"
        merchant = self._known.setdefault(mchid, Merchant(mchid, appid))
        certificate = self._api_certificate(mchid, version)
        merchant.serials[serial(certificate)] = signing.certificate_key(certificate)
        merchant.version = max(merchant.version, version)
        return merchant

    def find(self, mchid: str) -> Merchant | None:
        """The merchant of this number."""
        return self._known.get(mchid)

    def retire(self, mchid: str, version: int) -> None:
        """Take no more calls signed by this API certificate."""
        self._known[mchid].serials.pop(serial(self._api_certificate(mchid, version)), None)

    def keys_of(self, mchid: str) -> list[RSAPublicKey]:
        """The keys by which this merchant may sign."""
        merchant = self._known.get(mchid)
        return [] if merchant is None else list(merchant.serials.values())

    # ------------------------------------------------------------------------------------ keys

    def _api_certificate(self, mchid: str, version: int) -> x509.Certificate:
        return self._vault.certificate(_merchant_role(mchid, version), name=mchid)

    def apiv3_key(self, mchid: str, version: int) -> str:
        """32 characters, as a merchant sets them in the console."""
        return hmac.new(self._seed, f"apiv3 {mchid} {version}".encode(), hashlib.sha256).hexdigest()[:32]

    def public_key_id(self, mchid: str, version: int) -> str:
        return f"PUB_KEY_ID_01{mchid}20241122{version:014d}"

    def public_key(self, mchid: str, version: int) -> RSAPrivateKey:
        """The private half of what the merchant knows as the WeChat Pay public key."""
        return self._vault.key(f"wechatpay public key {mchid} {version}")

    def platform_certificate(self, mchid: str, version: int) -> x509.Certificate:
        """The platform certificate of this merchant."""
        return self._vault.certificate(_platform_role(mchid, version), name="Tenpay.com sign")

    def stranger(self) -> RSAPrivateKey:
        """A key that nobody knows."""
        return self._vault.key("stranger")

    def merchant_key(self, mchid: str) -> RSAPrivateKey:
        """The merchant's own key, with which it may sign requests and nothing else."""
        return self._vault.key(_merchant_role(mchid, 1))

    # ------------------------------------------------------------------------------------ signing for a merchant

    def signer(self, merchant: Merchant, wanted: str, *, in_turn: int = 0) -> tuple[str, RSAPrivateKey]:
        """Serial and key of a signature: as the request wants it; without a wish by this merchant's mode.

        During a migration both are in use, so those who did not say get one or the other.
        """
        mchid, version = merchant.mchid, merchant.version
        by_certificate = self._mode == CERTIFICATES or (self._mode == BOTH and in_turn % 2 == 1)
        if not wanted.startswith("PUB_KEY_ID_") and by_certificate:
            certificate = self.platform_certificate(mchid, version)
            return serial(certificate), self._vault.key(_platform_role(mchid, version))
        return self.public_key_id(mchid, version), self.public_key(mchid, version)

    def has_certificates(self) -> bool:
        """New merchants have only a public key: asking for certificates fails for them."""
        return self._mode != PUBLIC_KEY

    def sealed(
        self, merchant: Merchant, plain: bytes, *, associated_data: str, nonce: str, version: int = 0
    ) -> Mapping[str, str]:
        """AEAD_AES_256_GCM under the merchant's APIv3 key."""
        key = self.apiv3_key(merchant.mchid, version or merchant.version).encode()
        return {
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": signing.encrypt(key, plain, nonce=nonce, associated_data=associated_data),
            "associated_data": associated_data,
            "nonce": nonce,
        }


def _merchant_role(mchid: str, version: int) -> str:
    return f"merchant {mchid} {version}"


def _platform_role(mchid: str, version: int) -> str:
    return f"platform certificate {mchid} {version}"
