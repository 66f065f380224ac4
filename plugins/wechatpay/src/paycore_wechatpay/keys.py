"""The keys of an account: what signs for the merchant, what opens ciphertexts, and whose signatures are believed.

Source: APIv3, "Signature verification" and "Moving from platform certificates to the WeChat Pay public key": the serial in
the header names the key, and during a migration both kinds are in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from paycore.channel import AccountKeys, KeyVersion, Secret
from paycore_wechatpay import certificates, signing
from paycore_wechatpay.wire import SECOND

PUBLIC_KEY = "public_key"
CERTIFICATES = "certificates"
BOTH = "both"
GATEWAY = "https://api.mch.weixin.qq.com"
BACKUP = "https://api2.mch.weixin.qq.com"

APP_ID_OF_METHOD = {"app": "appid_app", "jsapi": "appid_jsapi", "mini_program": "appid_mini_program"}
"""Where a method's own app id stands in the settings, when it is not `appid`."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key of WeChat Pay's. A certificate's counts only while the certificate does."""

    key: RSAPublicKey
    since: int | None = None
    until: int | None = None

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Verifier:
        """The key of a platform certificate."""
        since, until = (
            int(at.timestamp()) * SECOND for at in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
        )
        return cls(signing.certificate_key(certificate), since, until)

    def counts(self, now: int) -> bool:
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


class Verifiers:
    """Every key of WeChat Pay's that is believed, by the serial that names it."""

    def __init__(self, known: Mapping[str, Verifier]) -> None:
        self._known = dict(known)

    def __len__(self) -> int:
        return len(self._known)

    def with_certificates(self, more: Iterable[x509.Certificate]) -> Verifiers:
        """These, and the keys of more certificates."""
        added = {signing.serial_of(certificate): Verifier.of(certificate) for certificate in more}
        return Verifiers(self._known | added)

    def prove(self, headers: Mapping[str, str], body: bytes, now: int) -> bool:
        """Whether WeChat Pay signed exactly this body, less than 300 s from now. The serial picks the key; nothing is fetched.

        An answer may leave out what sort of signature it has; another sort than ours is never looked at.
        """
        timestamp, nonce, signature, serial = (
            headers.get(name, "") for name in (signing.TIMESTAMP, signing.NONCE, signing.SIGNATURE, signing.SERIAL)
        )
        if headers.get(signing.SIGNATURE_TYPE, signing.SCHEME) != signing.SCHEME:
            return False
        verifier = self._known.get(serial)
        if verifier is None or not verifier.counts(now):
            return False
        if not signing.is_line(nonce) or not signing.is_fresh(timestamp, now):
            return False
        return signing.verify(verifier.key, signature, signing.signed_text(timestamp, nonce, body=body))


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """One key version, its keys parsed. Never printed."""

    settings: Mapping[str, str]
    """The settings that are no secrets."""
    private: RSAPrivateKey
    apiv3: Secret

    @classmethod
    def parse(cls, version: KeyVersion) -> Keys:
        """Read the settings of a version. Raises ValueError with a sentence that repeats no setting."""
        settings = version.settings
        apiv3 = _secret(settings, "apiv3_key")
        if len(apiv3.reveal().encode()) != 32:
            raise ValueError("the APIv3 key is not 32 bytes long")
        plain = {name: value for name, value in settings.items() if isinstance(value, str)}
        for name in ("mchid", "appid", "merchant_serial", "base_url"):
            if not plain.get(name):
                raise ValueError(f"setting {name} is missing")
        return cls(plain, signing.read_private_key(_secret(settings, "merchant_key")), apiv3)

    @property
    def apiv3_bytes(self) -> bytes:
        """The key of ciphertexts, for the line that opens one."""
        return self.apiv3.reveal().encode()

    @property
    def mchid(self) -> str:
        return self.settings["mchid"]

    @property
    def serial(self) -> str:
        """The serial number of the merchant's API certificate."""
        return self.settings["merchant_serial"].upper()

    @property
    def mode(self) -> str:
        return self.settings.get("key_mode") or PUBLIC_KEY

    @property
    def public_key_id(self) -> str:
        """What is sent as Wechatpay-Serial, so that answers are signed by that key; empty in certificate mode."""
        return "" if self.mode == CERTIFICATES else self.settings.get("wechatpay_public_key_id", "")

    @property
    def hosts(self) -> tuple[str, ...]:
        """The gateway and its backup. Source: "Disaster recovery across cities": api2 serves the same API."""
        base, backup = self.settings["base_url"].rstrip("/"), self.settings.get("backup_url", "").rstrip("/")
        backup = backup or (BACKUP if base == GATEWAY else "")
        return (base, backup) if backup and backup != base else (base,)

    def app_id(self, method: str) -> str:
        """The app id that this method pays under."""
        return self.settings.get(APP_ID_OF_METHOD.get(method, "")) or self.settings["appid"]

    def verifiers(self) -> Mapping[str, Verifier]:
        """The keys of WeChat Pay's in these settings. Raises ValueError."""
        known: dict[str, Verifier] = {}
        if self.mode in (PUBLIC_KEY, BOTH):
            known[_plain(self.settings, "wechatpay_public_key_id")] = Verifier(
                signing.read_public_key(_plain(self.settings, "wechatpay_public_key"))
            )
        if self.mode in (CERTIFICATES, BOTH):
            given = certificates.read_pem(self.settings.get("platform_certificates", ""))
            known |= {signing.serial_of(one): Verifier.of(one) for one in given}
        return known


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """All key versions of an account, newest first, and what its last refresh fetched."""

    versions: tuple[Keys, ...]
    signing: Keys | None
    verifiers: Verifiers
    fetched: tuple[x509.Certificate, ...]

    @classmethod
    def of(cls, account: AccountKeys) -> Keyring:
        """Parse everything that an account has. Raises ValueError with a sentence without secrets."""
        parsed = {version.version: Keys.parse(version) for version in account.versions}
        versions = tuple(parsed[version.version] for version in account.versions)
        if not versions:
            raise ValueError("an account needs at least one key version")
        if len({keys.mchid for keys in versions}) != 1:
            raise ValueError("the key versions of an account name different merchants")
        known: dict[str, Verifier] = {}
        for keys in reversed(versions):
            known |= keys.verifiers()
        wants_certificates = any(keys.mode != PUBLIC_KEY for keys in versions)
        fetched = certificates.unpack(account.blob) if wants_certificates else ()
        signs = None if account.signing is None else parsed[account.signing.version]
        return cls(versions, signs, Verifiers(known).with_certificates(fetched), fetched)

    def open_sealed(self, *, nonce: str, associated_data: str, ciphertext: str) -> bytes:
        """What is inside, by the first key version that opens it. Raises Undecipherable."""
        for keys in self.versions:
            try:
                return signing.decrypt(
                    keys.apiv3_bytes, nonce=nonce, associated_data=associated_data, ciphertext=ciphertext
                )
            except signing.Undecipherable:
                continue
        raise signing.Undecipherable("no APIv3 key of the account opens the ciphertext")


def _plain(settings: Mapping[str, str], name: str) -> str:
    value = settings.get(name, "")
    if not value:
        raise ValueError(f"setting {name} is missing")
    return value


def _secret(settings: Mapping[str, str | Secret], name: str) -> Secret:
    value = settings.get(name)
    if value is None:
        raise ValueError(f"setting {name} is missing")
    return value if isinstance(value, Secret) else Secret(value)
