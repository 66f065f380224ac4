"""Keys, key sets, rotation, and the one algorithm."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paycore_bridge import jws
from paycore_bridge.keys import (
    BadKey,
    KeyRing,
    KeySet,
    RingKey,
    SigningKey,
    VerifyingKey,
    from_base64url,
    to_base64url,
)

KEY = SigningKey.make()
OTHER = SigningKey.make()
KEYS = KeySet.of(KEY)
DAY = 86_400_000_000


def test_what_is_signed_is_verified_and_always_the_same_text() -> None:
    text = jws.sign(b"payload", key=KEY, typ="t")
    assert jws.verify(text, keys=KEYS, typ="t") == b"payload"
    assert jws.sign(b"payload", key=KEY, typ="t") == text


def test_any_changed_character_is_refused() -> None:
    text = jws.sign(b"payload of some length", key=KEY, typ="t")
    for index, old in enumerate(text):
        changed = text[:index] + ("A" if old != "A" else "B") + text[index + 1 :]
        with pytest.raises(jws.BadSignature):
            jws.verify(changed, keys=KEYS, typ="t")


def header(text: str, **fields: object) -> str:
    """The token with a header of these fields, its signature made anew: only the header can be the reason."""
    payload = text.split(".")[1]
    signed = f"{to_base64url(json.dumps(fields).encode())}.{payload}"
    return f"{signed}.{to_base64url(KEY.sign(signed.encode()))}"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"alg": "none", "kid": KEY.kid, "typ": "t"}, "algorithm"),
        ({"alg": "HS256", "kid": KEY.kid, "typ": "t"}, "algorithm"),
        ({"alg": "es256", "kid": KEY.kid, "typ": "t"}, "algorithm"),
        ({"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}, "type"),
        ({"alg": "ES256", "kid": OTHER.kid, "typ": "t"}, "not trusted"),
        ({"alg": "ES256", "kid": 7, "typ": "t"}, "not text"),
        ({"alg": "ES256", "kid": KEY.kid}, "other fields"),
        ({"alg": "ES256", "kid": KEY.kid, "typ": "t", "jwk": KEY.public.as_jwk()}, "other fields"),
        ({"alg": "ES256", "kid": KEY.kid, "typ": "t", "jku": "https://evil.example"}, "other fields"),
        ({"alg": "ES256", "kid": KEY.kid, "typ": "t", "crit": ["b64"], "b64": False}, "other fields"),
    ],
)
def test_a_header_that_asks_for_anything_else_is_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(jws.BadSignature, match=why):
        jws.verify(header(jws.sign(b"p", key=KEY, typ="t"), **fields), keys=KEYS, typ="t")


def test_a_key_in_the_header_is_not_trusted_even_when_it_signed() -> None:
    text = jws.sign(b"p", key=OTHER, typ="t")
    with pytest.raises(jws.BadSignature, match="not trusted"):
        jws.verify(text, keys=KEYS, typ="t")


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "é.b.c", "a b.c.d", "A" * 70_000])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(jws.BadSignature):
        jws.verify(text, keys=KEYS, typ="t")


def test_a_signature_has_one_form() -> None:
    text = jws.sign(b"p", key=KEY, typ="t")
    signed, _, signature = text.rpartition(".")
    raw = from_base64url(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for wrong in (
        raw[:63],
        raw + b"\0",
        b"\0" * 64,
        raw[:32] + order.to_bytes(32, "big"),
        order.to_bytes(32, "big") + raw[32:],
    ):
        with pytest.raises(jws.BadSignature):
            jws.verify(f"{signed}.{to_base64url(wrong)}", keys=KEYS, typ="t")
    with pytest.raises(jws.BadSignature):
        jws.verify(text + "=", keys=KEYS, typ="t")


@given(st.binary(max_size=64))
def test_base64url_has_one_spelling(data: bytes) -> None:
    assert from_base64url(to_base64url(data)) == data


@settings(max_examples=60)
@given(st.text(alphabet="AQgw-_/+= \n", max_size=8))
def test_no_second_spelling_is_read(text: str) -> None:
    try:
        data = from_base64url(text)
    except ValueError:
        return
    assert base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text


def test_a_key_survives_its_text_and_prints_no_secret() -> None:
    text = KEY.secret_text()
    assert SigningKey.from_text(text).kid == KEY.kid
    assert json.loads(text)["d"] not in repr(KEY) + str(KEY) + KEYS.to_json()
    assert "d" not in KEY.public.as_jwk()


def jwk(**changed: object) -> dict[str, object]:
    plain: dict[str, object] = json.loads(KEY.secret_text())
    return plain | changed


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"crv": "P-384"}, "P-256"),
        ({"kty": "OKP"}, "P-256"),
        ({"x": "AA"}, "32 bytes"),
        ({"x": 5}, "32 bytes"),
        ({"y": to_base64url(b"\1" * 32)}, "not on its curve"),
        ({"kid": "mine"}, "thumbprint"),
        ({"d": to_base64url(b"\0" * 32)}, "out of range"),
        ({"d": to_base64url(b"\7" * 32)}, "does not belong"),
        ({"d": "=="}, "base64url"),
    ],
)
def test_a_broken_key_is_refused_without_repeating_it(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(BadKey, match=why) as caught:
        SigningKey.from_jwk(jwk(**wrong))
    assert str(jwk()["d"]) not in str(caught.value)


def test_a_published_set_is_read_back_and_strange_keys_are_passed_over() -> None:
    both = KeySet.of(KEY, OTHER)
    assert [key.kid for key in KeySet.from_text(both.to_json()).keys] == [KEY.kid, OTHER.kid]
    strange = json.dumps({"keys": [{"kty": "RSA"}, KEY.public.as_jwk(), {**OTHER.public.as_jwk(), "use": "enc"}]})
    assert [key.kid for key in KeySet.from_text(strange).keys] == [KEY.kid]
    for bad in ("", "[]", "{}", '{"keys":{}}', json.dumps({"keys": [{**KEY.public.as_jwk(), "x": "AA"}]})):
        with pytest.raises(BadKey):
            KeySet.from_text(bad)


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    # The key of RFC 7515, appendix A.3, whose thumbprint is widely printed.
    made = VerifyingKey.from_jwk(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    assert made.kid == "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"


def test_a_ring_rotates_by_time_alone() -> None:
    ring = KeyRing.of(RingKey(KEY, signs_from=0, leaves_at=3 * DAY), RingKey(OTHER, signs_from=2 * DAY))
    names = {KEY.kid: "old", OTHER.kid: "new"}

    def at(now: int) -> tuple[str | None, list[str]]:
        signing = ring.signing(now)
        return (None if signing is None else names[signing.kid]), [names[key.kid] for key in ring.published(now).keys]

    assert at(0) == ("old", ["old", "new"])
    assert at(2 * DAY - 1) == ("old", ["old", "new"])
    assert at(2 * DAY) == ("new", ["new", "old"])
    assert at(3 * DAY) == ("new", ["new"])
    assert KeyRing.of(RingKey(KEY, signs_from=5)).signing(4) is None
    assert KeyRing.of().published(0).to_json() == '{"keys":[]}'


def test_a_senseless_ring_is_refused() -> None:
    with pytest.raises(BadKey, match="twice"):
        KeyRing.of(RingKey(KEY, 0), RingKey(KEY, 1))
    with pytest.raises(BadKey, match="before it signs"):
        KeyRing.of(RingKey(KEY, 5, leaves_at=5))
