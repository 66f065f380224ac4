"""`paycore demo --open`: the link opens, the payment is made by hand, and the shop says so."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import httpx2

from tests.cli.running import environment, heed_interrupts

SUBMIT = "/paycore.v1.CashierService/SubmitPayment"


def until(pattern: str, lines: IO[str]) -> str:
    """What the pattern finds in the lines that come."""
    read = []
    for line in lines:
        read.append(line)
        if found := re.search(pattern, line):
            return found[0]
    raise AssertionError(read)


def test_a_person_pays_by_hand(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "paycore", "demo", "--open"]
    shop = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        env=environment(tmp_path),
        cwd=tmp_path,
        text=True,
        preexec_fn=heed_interrupts,
    )
    try:
        assert shop.stdout is not None
        link = until(r"http://\S+/pay/\S+", shop.stdout)
        base, session_id = re.match(r"(http://[^/]+)/pay/(\w+)", link).groups()  # type: ignore[union-attr]
        with httpx2.Client(trust_env=False, timeout=20) as browser:
            assert browser.get(link, follow_redirects=True).status_code == 200
            begun = browser.post(
                f"{base}{SUBMIT}",
                headers={"content-type": "application/json", "paycore-session": session_id},
                content=json.dumps(
                    {
                        "sessionId": session_id,
                        "channel": "sandbox",
                        "method": "redirect",
                        "returnsToPage": True,
                        "requestId": "a-person-who-pays",
                    }
                ),
            ).json()
            where = json.loads(begun["payment"]["action"]["steps"][0]["paramsJson"])["url"]
            paid = browser.post(where, data={"action": "pay"}, follow_redirects=True)
            assert f"{base}/pay/{session_id}" in paid.text, "the way back leads to the cashier"
        until("order is over", shop.stdout)
        shop.send_signal(signal.SIGINT)
        assert shop.wait(20) == 0
    finally:
        if shop.poll() is None:
            shop.kill()
        shop.communicate()
