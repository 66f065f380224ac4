"""`paycore bridge`: payloads are explained, and the rules of shells are ready to be pasted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from paycore.cli.opening import host_of, settings_of
from paycore_bridge import surfaces
from tests.cli.running import command, paycore

PAY_REQ = {
    "appId": "wxd930ea5d5a258f4f",
    "partnerId": "1900000109",
    "prepayId": "wx201410272009395522657a690389285100",
    "packageValue": "Sign=WXPay",
    "nonceStr": "593BEC0C930BF1AFEB40B4A08C8FB242",
    "timeStamp": "1795375803",
    "sign": "Ab+/" * 86,
}


def written(folder: Path, payload: object) -> str:
    path = folder / "payload.json"
    path.write_text(payload if isinstance(payload, str) else json.dumps(payload), encoding="utf-8")
    return str(path)


def test_what_works_ends_well(tmp_path: Path) -> None:
    done = command("bridge", "lint", written(tmp_path, PAY_REQ), "--json")
    assert done.code == 0, done.err
    assert done.json["looks_like"] == "the arguments of sdk wechat.open on android"
    assert [one for one in done.json["findings"] if one["level"] == "wrong"] == []


def test_what_would_fail_is_explained_and_ends_with_1(tmp_path: Path) -> None:
    wrong = {("timestamp" if name == "timeStamp" else name): value for name, value in PAY_REQ.items()}
    path = written(tmp_path, wrong | {"packageValue": "prepay_id=wx1", "sign": "canary "})
    done = command("bridge", "lint", path, "--target", "android", "--app-id", "wx0000000000000000")
    assert done.code == 1
    for words in ("timestamp must be spelled timeStamp", "packageValue must be Sign=WXPay", "another app id"):
        assert words in done.out
    assert "canary" not in done.out + done.err


def test_a_payload_may_come_on_stdin(tmp_path: Path) -> None:
    done = paycore(
        "bridge", "lint", "-", "--json", home=tmp_path, stdin=json.dumps(PAY_REQ | {"timeStamp": 1795375803})
    )
    assert done.code == 1
    assert "must be a text, not a number" in [one["what"] for one in done.json["findings"]]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["lint", "no-such-file"], 2),
        (["lint", "{file}", "--target", "fridge"], 2),
        (["shells", "https://pay.example/"], 2),
        (["shells", "http://pay.example"], 2),
        (["shells", "https://*.example"], 2),
        (["shells", "https://pay.example:443"], 2),
        (["shells"], 2),
        (["shells", "https://pay.example", "--shell", "fridge"], 2),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], code: int, tmp_path: Path) -> None:
    path = written(tmp_path, PAY_REQ)
    assert command("bridge", *(path if one == "{file}" else one for one in arguments)).code == code


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe{")
    assert command("bridge", "lint", str(tmp_path / "x")).code == 1
    (tmp_path / "x").write_bytes(b"a" * 300_000)
    assert command("bridge", "lint", str(tmp_path / "x")).code == 2


def test_the_rules_of_every_shell_name_the_pages_exactly() -> None:
    done = command("bridge", "shells", "https://pay.example", "https://pay.example:8443", "--json")
    rules = {one["shell"]: one for one in done.json["shells"]}
    assert set(rules) == {"ios", "android", "harmony", "frame"}
    pages = json.loads(rules["harmony"]["text"])["javascriptProxyPermission"]["urlPermissionList"]
    assert [(page["scheme"], page["host"], page["port"]) for page in pages] == [
        ("https", "pay.example", ""),
        ("https", "pay.example", "8443"),
    ]
    for shell in ("ios", "android", "frame"):
        assert '"https://pay.example:8443"' in rules[shell]["text"]
    assert "isMainFrame" in rules["ios"]["text"]
    assert "addWebMessageListener" in rules["android"]["text"]
    plain = command("bridge", "shells", "https://pay.example", "--shell", "harmony")
    assert "javascriptProxyPermission" in plain.out
    assert "WKScriptMessage" not in plain.out


def test_channels_and_the_bridge_read_the_same_codes_alike() -> None:
    """What the runtime's own knowledge of a wallet says, and what the channel declares, may never part."""
    known = {table.source: table for bridge in surfaces.ALL for table in bridge.results}
    kinds = host_of(settings_of(None)).kinds.values()
    declared = [table for kind in kinds if kind.bridge is not None for table in kind.bridge.results]
    apart = [
        (table.source, code)
        for table in declared
        if (ours := known.get(table.source)) is not None
        for code in {*table.exact, *ours.exact}
        if table.read(code).outcome is not ours.read(code).outcome
    ]
    assert apart == []


def test_help_of_the_bridge_loads_no_cryptography(tmp_path: Path) -> None:
    program = (
        "import sys; import paycore.cli.bridge; print('cryptography' in sys.modules, 'paycore_bridge' in sys.modules)"
    )
    done = paycore("bridge", "--help", home=tmp_path)
    assert done.code == 0
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert seen.stdout.strip() == "False False"
