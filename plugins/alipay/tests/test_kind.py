"""What Alipay is said to be, and what it takes to open an account there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from paycore.channel import AfterUnknown, ChannelVerb, Environment, KeyState, NoticeCase
from paycore.engine.accounts import BadSettings, check_settings
from paycore.engine.host import Host, check_kind
from paycore_alipay import ALIPAY
from paycore_alipay.channel import AlipayChannel
from paycore_alipay.simulator import AlipaySimulator, KeyRing

from .support import (
    BASE,
    KEYS,
    account_of,
    open_with,
    payment,
    vector_certificates,
    vector_settings,
    version_of,
)


def test_the_kind_holds_together_and_is_found() -> None:
    check_kind(ALIPAY)
    assert Host.load(allow=["alipay"]).kind("alipay") is ALIPAY


def test_what_it_declares() -> None:
    assert set(ChannelVerb) - ALIPAY.verbs == {ChannelVerb.CONFIRM, ChannelVerb.REFRESH, ChannelVerb.OPERATE}
    assert {method.name for method in ALIPAY.methods} == {
        *("app", "wap", "page", "qr", "jsapi", "mini_program", "barcode")
    }
    assert [setting.name for setting in ALIPAY.settings if setting.secret] == ["app_private_key"]
    assert all(set(method.limits) == {"CNY"} for method in ALIPAY.methods)


def test_only_a_scanned_payer_is_never_charged_again_after_silence() -> None:
    careful = {method.name for method in ALIPAY.methods if method.after_unknown is AfterUnknown.QUERY_THEN_CLOSE}
    reversing = {method.name for method in ALIPAY.methods if method.close_reverses}
    assert careful == reversing == {"barcode"}


def test_every_refusal_is_anything_but_success() -> None:
    assert {case: (reply.status, reply.body) for case, reply in ALIPAY.refusals.items()} == {
        NoticeCase.FORGED: (401, b"fail"),
        NoticeCase.WRONG_ACCOUNT: (403, b"fail"),
        NoticeCase.NOT_NOW: (503, b"fail"),
    }


# ---------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("form", ["pkcs1_pem", "pkcs8_pem", "pkcs1_b64", "pkcs8_b64"])
@pytest.mark.parametrize("public", ["public_spki_pem", "public_spki_b64"])
def test_keys_are_taken_as_merchants_paste_them(form: str, public: str) -> None:
    private = KEYS["rsa"]["alipay_app"][form]
    for pasted in (private, f"  {private}\n\n", private.replace("\n", "\r\n")):
        settings = vector_settings(app_private_key=pasted, alipay_public_key=KEYS["rsa"]["alipay_platform"][public])
        assert open_with(settings).merchant == "2021000100000001/2088102100000001"


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def public_pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


SHORT, CURVE = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "changes",
    [
        {"app_private_key": "not a key"},
        {"app_private_key": "AAAA"},
        {"app_private_key": pem(SHORT)},
        {"app_private_key": pem(CURVE)},
        {"app_private_key": KEYS["rsa"]["alipay_app"]["public_spki_pem"]},
        {"alipay_public_key": "not a key"},
        {"alipay_public_key": public_pem(SHORT)},
        {"alipay_public_key": public_pem(CURVE)},
        {"alipay_public_key": ""},
        {"app_cert": "x"},
        {"app_id": ""},
        {"seller_id": ""},
    ],
)
def test_settings_that_cannot_work_are_refused_without_being_repeated(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Za-z]") as refused:
        open_with(vector_settings(**changes))
    assert not any(value and len(value) > 3 and value in str(refused.value) for value in changes.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"app_cert": ""},
        {"alipay_root_cert": ""},
        {"alipay_cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"},
        {"alipay_cert": "x"},
        {"alipay_cert": KeyRing().certificate("alipay")},
        {"alipay_root_cert": KeyRing().root_bundle()},
    ],
)
def test_certificates_that_do_not_belong_together_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^[A-Za-z]"):
        open_with(vector_certificates() | changes)


def test_certificate_mode_opens_and_names_its_certificates() -> None:
    channel = open_with(vector_certificates())
    assert channel._active().certificates == {
        "app_cert_sn": "934225d2769d60f75eb14060c256a552",
        "alipay_root_cert_sn": "8d5d01bda0a0974526f06e29c7fee5d4_a22fc9c11417998dcfdb8c4de4a96f86",
    }


def test_the_versions_of_an_account_have_one_merchant() -> None:
    one = version_of(vector_settings(), 2)
    other = version_of(vector_settings(seller_id="2088102100000002"), 1, KeyState.VERIFY_ONLY)
    with pytest.raises(ValueError, match="different merchants"):
        AlipayChannel(account_of(one, other, signing=one))
    with pytest.raises(ValueError, match="at least one"):
        AlipayChannel(account_of())


@pytest.mark.parametrize(
    ("environment", "gateway", "expected"),
    [
        (Environment.PRODUCTION, "", "https://openapi.alipay.com/gateway.do"),
        (Environment.SANDBOX, "", "https://openapi-sandbox.dl.alipaydev.com/gateway.do"),
        (
            Environment.PRODUCTION,
            "https://proxy.example:8443/alipay/gateway.do",
            "https://proxy.example:8443/alipay/gateway.do",
        ),
    ],
)
def test_where_it_calls(environment: Environment, gateway: str, expected: str) -> None:
    channel = open_with(vector_settings(gateway=gateway), environment)
    request = next(channel.query(payment()))
    assert request.url == f"{expected}?charset=utf-8&method=alipay.trade.query"


@pytest.mark.parametrize(
    "gateway", ["http://openapi.alipay.com/gateway.do", "ftp://x", "https://user@x/", "https://x/?a=b", "x"]
)
def test_a_gateway_is_reached_by_tls_or_on_loopback(gateway: str) -> None:
    with pytest.raises(BadSettings, match="gateway"):
        check_settings(ALIPAY.settings, vector_settings(gateway=gateway))
    check_settings(ALIPAY.settings, vector_settings(gateway="http://127.0.0.1:8901/alipay/gateway.do"))


def test_nothing_of_an_account_is_in_any_repr() -> None:
    settings = AlipaySimulator("repr").settings(BASE)
    version = version_of(settings)
    shown = repr(version) + repr(account_of(version)) + repr(open_with(settings)) + repr(open_with(settings)._active())
    assert settings["app_private_key"][40:80] not in shown


def test_importing_it_is_quick_and_light() -> None:
    """Neither cryptography nor the simulator is loaded before an account is opened."""
    code = "import sys, paycore_alipay; print(sorted({name.partition('.')[0] for name in sys.modules}), 'paycore_alipay.simulator' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stdout
    assert "cryptography" not in said
    assert said.rstrip().endswith("False")
