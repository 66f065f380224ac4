"""Writes what is made from the one source: the contract's files, and the vectors for other languages.

`python bridge/generate.py` writes them; a test says when they are stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import vector_samples as samples

from paycore_bridge import Target, contract, jws
from paycore_bridge.canonical import canonical_json
from paycore_bridge.contract import ErrorCode, Method
from paycore_bridge.declaration import source_of
from paycore_bridge.envelope import TYPE, Payment, peek, seal
from paycore_bridge.keys import KeySet, SigningKey, to_base64url
from paycore_bridge.messages import answer, call, claim_of
from paycore_bridge.profiles import PROFILES
from paycore_bridge.surfaces import ALL

HERE = Path(__file__).resolve().parent
MESSAGE_ID = "0123456789abcdef0123456789abcdef"
ORIGIN = "https://pay.example"


def _key(name: str) -> SigningKey:
    """A key that everybody can make again: for tests of other languages, and for nothing else."""
    secret = hashlib.sha256(f"paycore bridge vectors: {name}".encode()).digest()
    from cryptography.hazmat.primitives.asymmetric import ec

    numbers = ec.derive_private_key(int.from_bytes(secret, "big"), ec.SECP256R1()).public_key().public_numbers()
    x, y = (to_base64url(part.to_bytes(32, "big")) for part in (numbers.x, numbers.y))
    return SigningKey.from_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": to_base64url(secret)})


KEY, NEXT_KEY, STRANGER = _key("signing"), _key("next"), _key("stranger")


def contract_files() -> dict[Path, str]:
    """The JSON Schemas of all messages and the OpenRPC document."""
    folder = HERE / "paycore_bridge/contract_files"
    files = {folder / f"{name}.json": schema for name, schema in contract.SCHEMAS.items()}
    return {path: pretty(plain) for path, plain in {**files, folder / "openrpc.json": contract.openrpc()}.items()}


def vector_files() -> dict[Path, str]:
    """What a shell in another language is tested with, alone."""
    folder = HERE / "vectors"
    files: dict[Path, Any] = {
        folder / "keys.json": _keys(),
        folder / "refusals.json": list(_refusals()),
        folder / "results.json": list(_results()),
        folder / "signatures.json": list(_signatures()),
        folder / "messages.json": list(_messages()),
    }
    files |= {folder / f"{sample.name}.json": _vector(sample) for sample in samples.samples()}
    return {path: pretty(plain) for path, plain in files.items()}


def _keys() -> dict[str, Any]:
    return {
        "warning": "Throwaway keys that everybody has. Never trust them outside of a test.",
        "signing": json.loads(KEY.secret_text()),
        "published": json.loads(KeySet.of(KEY, NEXT_KEY).to_json()),
        "stranger": STRANGER.public.as_jwk(),
    }


def audience(target: Target) -> str:
    """The name that an app on this target goes by in the vectors."""
    web = target in (Target.WEBVIEW, Target.MOBILE_WEB)
    return f"web:{ORIGIN}" if web else f"{target}:com.example.shop"


def _sealed(sample: samples.Sample, **changed: Any) -> str:
    payment = Payment("or_0001", "pa_0001", sample.channel, sample.method, 12_800, "CNY")
    given: dict[str, Any] = {
        "key": KEY,
        "issuer": "paycore",
        "audience": [audience(sample.target)],
        "jti": f"jti_{hashlib.sha256(sample.name.encode()).hexdigest()[:24]}",
        "now": samples.NOW,
        "target": sample.target,
        "origins": [ORIGIN],
        "bridge": sample.bridge,
    }
    return seal(sample.plan, payment, **(given | changed))


def _vector(sample: samples.Sample) -> dict[str, Any]:
    envelope = _sealed(sample)
    header, payload, signature = envelope.split(".")
    first = sample.plan.steps[0]
    vector: dict[str, Any] = {
        "channel": sample.channel,
        "target": sample.target,
        "audience": audience(sample.target),
        "origin": ORIGIN,
        "now_seconds": samples.NOW // samples.SECOND,
        "claims": peek(envelope),
        "signed_bytes": f"{header}.{payload}",
        "signature": signature,
        "envelope": envelope,
        "steps": [
            {"kind": step.kind, "requires": list(step.requires), "params": step.params} for step in sample.plan.steps
        ],
        "message": call(Method.PAY, {"envelope": envelope}, message_id=MESSAGE_ID),
    }
    source = source_of(first)
    if source is None or not sample.code:
        return vector
    claim = claim_of(
        "pa_0001", step=0, source=source, code=sample.code, table=sample.bridge.tables_of(sample.plan)[source]
    )
    vector["claim"] = claim
    vector["answer"] = answer(Method.PAY, claim, message_id=MESSAGE_ID)
    vector["wires"] = {
        name: {"page": wire.page, "native": wire.native, "answer": wire.answer}
        for name, profile in PROFILES.items()
        if sample.target in profile.targets
        for wire in [profile.wire(vector["message"], vector["answer"], target=sample.target)]
    }
    return vector


def _refusals() -> Iterator[dict[str, Any]]:
    """Envelopes that must not reach an SDK, and the code of the answer."""
    sample = next(one for one in samples.samples() if one.name == "alipay-android")
    good, now = _sealed(sample), samples.NOW // samples.SECOND
    header, payload, signature = good.split(".")

    def case(name: str, envelope: str, code: ErrorCode | None, **changed: Any) -> dict[str, Any]:
        expected = {"accepted": True} if code is None else {"code": int(code), "error": code.name.lower()}
        given = {"audience": audience(sample.target), "origin": ORIGIN, "now_seconds": now, "used": []}
        return {"name": name, "envelope": envelope, **(given | changed), "expect": expected}

    yield case("as it should be", good, None)
    yield case("one second before its end", good, None, now_seconds=now + 299)
    yield case("an engine that cannot tell the origin", good, None, origin=None)
    yield case("at its end", good, ErrorCode.EXPIRED, now_seconds=now + 300)
    yield case("from the future by more than a minute", good, ErrorCode.EXPIRED, now_seconds=now - 61)
    yield case("used before", good, ErrorCode.REPLAYED, used=[peek(good)["jti"]])
    yield case("another app", good, ErrorCode.SIGNATURE_INVALID, audience="android:com.example.other")
    yield case("the same name on another system", good, ErrorCode.SIGNATURE_INVALID, audience="ios:com.example.shop")
    yield case("another page", good, ErrorCode.ORIGIN_REJECTED, origin="https://pay.example.evil.example")
    yield case("a page without TLS", good, ErrorCode.ORIGIN_REJECTED, origin="http://pay.example")
    yield case("a key of strangers", _sealed(sample, key=STRANGER), ErrorCode.SIGNATURE_INVALID)
    yield case("the next key, already published", _sealed(sample, key=NEXT_KEY), None)
    other = to_base64url(canonical_json(peek(good) | {"payment_id": "pa_9999"}).encode())
    yield case("another payment under the same signature", f"{header}.{other}.{signature}", ErrorCode.SIGNATURE_INVALID)
    none = to_base64url(canonical_json({"alg": "none", "kid": KEY.kid, "typ": TYPE}).encode())
    yield case("no algorithm and no signature", f"{none}.{payload}.", ErrorCode.SIGNATURE_INVALID)
    for name, fields in _headers():
        signed = f"{to_base64url(canonical_json(fields).encode())}.{payload}"
        yield case(name, f"{signed}.{to_base64url(KEY.sign(signed.encode()))}", ErrorCode.SIGNATURE_INVALID)
    yield case("a signature in DER", f"{header}.{payload}.{_der(signature)}", ErrorCode.SIGNATURE_INVALID)
    yield case("padding at the end", f"{good}=", ErrorCode.SIGNATURE_INVALID)
    yield case("cut off", good[:-20], ErrorCode.SIGNATURE_INVALID)
    yield case("two parts", f"{header}.{payload}", ErrorCode.SIGNATURE_INVALID)
    yield case("nothing", "", ErrorCode.SIGNATURE_INVALID)
    for name, code, changed in _claims(now):
        yield case(name, jws.sign(canonical_json(peek(good) | changed).encode(), key=KEY, typ=TYPE), code)


def _headers() -> Iterator[tuple[str, dict[str, Any]]]:
    base = {"alg": "ES256", "kid": KEY.kid, "typ": TYPE}
    yield "another type", base | {"typ": "JWT"}
    yield "a key inside the header", base | {"jwk": STRANGER.public.as_jwk()}
    yield "an address of keys inside the header", base | {"jku": "https://evil.example/keys"}
    yield "a critical extension", base | {"crit": ["exp"]}
    yield "the name of a key that nobody has", base | {"kid": "nobody"}


def _claims(now: int) -> Iterator[tuple[str, ErrorCode, dict[str, Any]]]:
    bad = ErrorCode.INVALID_PARAMS
    yield "a life of more than five minutes", bad, {"exp": now + 301}
    yield "milliseconds where seconds belong", ErrorCode.EXPIRED, {"iat": now * 1000, "exp": now * 1000 + 300}
    yield "another major version", ErrorCode.VERSION_UNSUPPORTED, {"v": "2.0"}
    yield "a negative amount", bad, {"amount": {"amount_minor": -1, "currency_code": "CNY"}}
    yield "a field that nobody declared", bad, {"admin": True}
    script = {"kind": "link", "target": "any", "requires": [], "params_json": '{"url":"javascript:alert(1)"}'}
    yield "a link that runs a script", bad, {"plan": {"v": 1, "steps": [script]}}


def _der(signature: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    from paycore_bridge.keys import from_base64url

    raw = from_base64url(signature)
    return to_base64url(encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")))


def _signatures() -> Iterator[dict[str, Any]]:
    """Signatures whose halves begin with zero bytes: where a conversion to or from DER goes wrong first."""
    wanted: dict[str, Callable[[bytes], bool]] = {"r begins with a zero byte": lambda raw: raw[0] == 0, "s begins with a zero byte": lambda raw: raw[32] == 0,
              "r has its highest bit set": lambda raw: raw[0] >= 0x80, "s has its highest bit set": lambda raw: raw[32] >= 0x80}  # fmt: skip
    for name, fits in wanted.items():
        number = next(number for number in range(10_000) if fits(KEY.sign(f"message {number}".encode())))
        text = f"message {number}"
        raw = KEY.sign(text.encode())
        yield {
            "name": name,
            "data": text,
            "signature": to_base64url(raw),
            "der": _der(to_base64url(raw)),
            "kid": KEY.kid,
        }


def _results() -> Iterator[dict[str, Any]]:
    """The tables from raw codes to outcomes, with cases; the last ones prove that a table is total."""
    for bridge in ALL:
        for table in bridge.results:
            codes = [*table.exact, *(f"…{part}…" for part, _ in table.containing), "", "success", "9000 ", "ok"]
            cases = [
                {"code": code, "outcome": table.read(code).outcome, "reason": table.read(code).reason} for code in codes
            ]
            yield {"source": table.source, "table": table.as_json(), "cases": cases}


def _messages() -> Iterator[dict[str, Any]]:
    """One call of every method."""
    params: dict[Method, dict[str, Any]] = {
        Method.HELLO: {"page": {"origin": ORIGIN}},
        Method.PAY: {"envelope": "see the files of the channels"},
        Method.RESUME: {"payment_id": "pa_0001"},
        Method.ACK: {"payment_id": "pa_0001"},
        Method.FINISH: {"transaction_id": "2000000000000001", "payment_id": "pa_0001"},
        Method.UNFINISHED: {},
        Method.CLOSE: {"payment_id": "pa_0001"},
    }
    for method, given in params.items():
        yield {"method": method, "message": call(method, given, message_id=MESSAGE_ID)}


def pretty(plain: Any) -> str:
    """JSON as people read it and as diffs show it."""
    return json.dumps(plain, ensure_ascii=False, indent=2) + "\n"


def write(files: Mapping[Path, str]) -> None:
    """Write the files, and take away what is no longer made."""
    for folder in {path.parent for path in files}:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in set(folder.glob("*.json")) - set(files):
            stale.unlink()
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(contract_files())
    write(vector_files())
