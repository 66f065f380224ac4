"""Notices that were changed on the way, or made by somebody who saw a genuine one."""

from __future__ import annotations

import random
import string
from dataclasses import replace

from paycore.channel import RawNotice
from paycore.testing.mutate import Mutator
from paycore_wechatpay import signing

COVERED = (signing.TIMESTAMP, signing.NONCE, signing.SERIAL, signing.SIGNATURE, signing.SIGNATURE_TYPE)
LETTERS = string.ascii_letters + string.digits + "+/=-_ ."


class Spoiler:
    """Endless mutants of one notice: its body, a header, or both. The same seed gives the same ones."""

    def __init__(self, genuine: RawNotice, seed: int) -> None:
        self._genuine = genuine
        self._mutator = Mutator(seed)
        self._chance = random.Random(seed)

    def next(self) -> RawNotice:
        """The next one, different from the genuine one in what its signature is about."""
        while True:
            spoilt = self._spoilt()
            if spoilt != self._genuine:
                return spoilt

    def _spoilt(self) -> RawNotice:
        deed = self._chance.random()
        body = self._mutator.spoil(self._genuine.body) if deed < 0.7 else self._genuine.body
        headers = dict(self._genuine.headers)
        if deed >= 0.6:
            name = self._chance.choice(COVERED)
            headers[name] = self._text(headers[name])
        return replace(self._genuine, headers=headers, body=body)

    def _text(self, value: str) -> str:
        """A header's value with a letter changed, lost, put in, or all of it gone; nothing that HTTP itself would mend."""
        place = self._chance.randrange(len(value))
        letter = self._chance.choice(LETTERS)
        return {
            0: value[:place] + letter + value[place + 1 :],
            1: value[:place] + value[place + 1 :],
            2: value[:place] + letter + value[place:],
            3: value[:place],
        }[self._chance.randrange(4)].strip()
