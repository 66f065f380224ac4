"""Asks python-alipay-sdk, an independent implementation, about what we sign, and has it sign for us.

It lives in an environment of its own, which nothing else here needs:

    uv venv ORACLE && uv pip install -p ORACLE/bin/python python-alipay-sdk==3.4.0
    .venv/bin/python plugins/alipay/tests/oracle.py ORACLE/bin/python

Signatures are the same each time (RSA2 is deterministic), so its verdicts are kept in vectors/oracle.json and hold for as
long as `test_oracle.py` finds that we still write the very same bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT = HERE / "vectors" / "oracle.json"
GIVEN = HERE / "vectors" / "keys.json"


def ask(python: str, question: dict[str, Any]) -> dict[str, Any]:
    """What the oracle says, in a process of its own."""
    command = [python, str(Path(__file__)), "--answer"]
    done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=True, timeout=60)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Runs inside the oracle's environment: judge what we signed, sign what we are to judge."""
    import alipay  # type: ignore[import-not-found]
    from alipay.utils import AliPayConfig  # type: ignore[import-not-found]

    keys = json.loads(GIVEN.read_text("utf-8"))
    app, platform = keys["rsa"]["alipay_app"], keys["rsa"]["alipay_platform"]
    alipay.BaseAliPay.build_body = at(alipay.BaseAliPay.build_body, question["timestamp"])

    def client(private: str, public: str) -> Any:
        return alipay.AliPay(
            appid=question["app_id"],
            app_notify_url=question["notify_url"],
            app_private_key_string=private,
            alipay_public_key_string=public,
            sign_type="RSA2",
            config=AliPayConfig(timeout=5),
        )

    def certified() -> Any:
        return alipay.DCAliPay(
            appid=question["app_id"],
            app_notify_url=question["notify_url"],
            app_private_key_string=app["pkcs1_pem"],
            app_public_key_cert_string=keys["certs"]["alipay_app_cert"],
            alipay_public_key_cert_string=keys["certs"]["alipay_public_cert"],
            alipay_root_cert_string=keys["certs"]["alipay_root_cert"],
        )

    hears_us = client(app["pkcs1_pem"], app["public_spki_pem"])
    hears_alipay = client(app["pkcs1_pem"], platform["public_spki_pem"])
    plays_alipay = client(platform["pkcs1_pem"], platform["public_spki_pem"])
    orders = {
        "app": hears_alipay.api_alipay_trade_app_pay(**question["order"]),
        "wap": hears_alipay.api_alipay_trade_wap_pay(**question["order"], return_url=question["return_url"]),
        "page": hears_alipay.api_alipay_trade_page_pay(**question["order"], return_url=question["return_url"]),
        "app by certificates": certified().api_alipay_trade_app_pay(**question["order"]),
    }
    return {
        "ours": {name: hears_us._verify(text_of(one["data"]), one["sign"]) for name, one in question["ours"].items()},
        "spoilt": {
            name: hears_us._verify(text_of(one["data"] | {"app_id": "0"}), one["sign"])
            for name, one in question["ours"].items()
        },
        "notices": {
            name: hears_alipay.verify(dict(one["data"]), one["sign"]) for name, one in question["notices"].items()
        },
        "answers": {
            name: hears_alipay._verify_and_return_sync_response(one["raw"], one["key"]) is not None
            for name, one in question["answers"].items()
        },
        "orders": orders,
        "signed_notice": plays_alipay._sign(text_of(question["notice"])),
    }


def text_of(data: dict[str, str]) -> str:
    """What is signed; the oracle's own `verify` leaves `sign_type` out, as is right for notices alone."""
    return "&".join(f"{name}={value}" for name, value in sorted(data.items()))


def at(build: Any, timestamp: str) -> Any:
    """The oracle asks its machine's clock, in its machine's zone; here it is told the time."""

    def build_body(*given: Any, **more: Any) -> Any:
        return dict(build(*given, **more)) | {"timestamp": timestamp}

    return build_body


def main(python: str) -> None:
    sys.path.insert(0, str(HERE.parents[2]))
    import importlib

    question = importlib.import_module("plugins.alipay.tests.questions").question()
    kept = {"oracle": "python-alipay-sdk 3.4.0", "question": question, "answer": ask(python, question)}
    KEPT.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--answer":
        print(json.dumps(answer(json.load(sys.stdin)), ensure_ascii=False))
    else:
        main(sys.argv[1])
