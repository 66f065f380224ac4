"""What the kind says of itself is so, and nothing is there that it does not say."""

from __future__ import annotations

import re

import pytest

from paycore.channel import API_VERSION, ChannelVerb, KeyState, Text
from paycore.engine.accounts import check_settings
from paycore.engine.host import check_channel, check_kind
from paycore.testing.conformance.stand import Stand
from paycore_bridge import StepKind, Target

FACES = frozenset({"android", "ios", "harmony", "h5", "in_wallet", "mini_program", "pc", "tv", "car"})
_SECRETIVE = re.compile(r"private|secret|password|passphrase", re.ASCII)


class Identity:
    """Identity and capabilities."""

    def test_the_description_holds_together(self, stand: Stand) -> None:
        check_kind(stand.kind)
        assert stand.kind.api_version == API_VERSION
        assert stand.kind.version not in ("", "0"), "a plugin has a version of its own"
        assert stand.kind.simulator is not None, "every plugin ships a simulator"

    def test_every_declared_verb_is_there_and_no_other(self, stand: Stand) -> None:
        check_channel(stand.kind, stand.channel)
        undeclared = [
            verb.value
            for verb in ChannelVerb
            if verb not in stand.kind.verbs and getattr(stand.channel, verb.value, None) is not None
        ]
        assert undeclared == [], "verbs that are there and not declared are never called; declare them or take them out"

    def test_people_can_read_its_names(self, stand: Stand) -> None:
        kind = stand.kind
        texts: list[tuple[str, Text]] = [
            (kind.name, kind.title),
            *((method.name, method.title) for method in kind.methods),
            *((one.name, one.title) for method in kind.methods for one in method.inputs),
            *((setting.name, setting.title) for setting in kind.settings),
            *((one.name, one.title) for one in kind.statements),
            *((one.name, one.title) for one in kind.operations),
        ]
        assert [name for name, text in texts if not (text.zh.strip() and text.en.strip())] == []

    def test_its_words_are_words_of_the_house(self, stand: Stand) -> None:
        for method in stand.kind.methods:
            assert set(method.step_kinds) <= {kind.value for kind in StepKind}, method.name
            assert method.step_kinds, method.name
            assert set(method.targets) <= {target.value for target in Target}, method.name
            assert set(method.faces) <= FACES, method.name

    def test_an_account_opens_with_the_simulators_settings(self, stand: Stand) -> None:
        whole = check_settings(stand.kind.settings, stand.settings)
        identity = [setting.name for setting in stand.kind.settings if setting.identity]
        assert all(name in whole for name in identity)

    def test_what_sounds_secret_is_a_secret(self, stand: Stand) -> None:
        open_secrets = [
            setting.name for setting in stand.kind.settings if _SECRETIVE.search(setting.name) and not setting.secret
        ]
        assert open_secrets == []

    def test_another_merchant_is_another_account(self, stand: Stand) -> None:
        other = stand.open(stand.simulator.other_settings(stand.case.base_url))
        assert other.merchant != stand.channel.merchant

    def test_new_keys_are_the_same_merchants(self, stand: Stand) -> None:
        fresh = stand.simulator.next_settings(stand.case.base_url)
        rotated = stand.open_keys(stand.keys((fresh, KeyState.ACTIVE), (stand.settings, KeyState.VERIFY_ONLY)))
        assert rotated.merchant == stand.channel.merchant

    def test_an_account_whose_keys_only_verify_opens_all_the_same(self, stand: Stand) -> None:
        channel = stand.open_keys(stand.keys((stand.settings, KeyState.VERIFY_ONLY)))
        assert channel.merchant == stand.channel.merchant

    def test_settings_that_cannot_be_right_are_refused_in_words(self, stand: Stand) -> None:
        """A key that is no key is a ValueError when the account is opened, not a crash when money is asked for."""
        keys = [setting for setting in stand.kind.settings if setting.secret]
        for setting in keys:
            spoilt = {
                **stand.settings,
                setting.name: stand.settings[setting.name][: len(stand.settings[setting.name]) // 2],
            }
            if setting.pattern and re.fullmatch(setting.pattern, spoilt[setting.name]) is None:
                continue  # the engine refuses it before the plugin sees it
            with pytest.raises(ValueError, match=r"\w"):
                stand.open(spoilt)
