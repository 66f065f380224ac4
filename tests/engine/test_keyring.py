"""Secrets at rest: what opens where, and what a rotation leaves behind."""

import base64
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from paycore.engine.keyring import (
    CannotUnseal,
    Keyring,
    NoMasterKey,
    Place,
    add_key,
    drop_older_keys,
    make_key_file,
    open_keyring,
    read_key_file,
)

PLACE = Place("ap1", "sandbox", "ac1", 1)
SECRET = b'{"private_key":"canary-4711"}'
OLD, NEW = b"o" * 32, b"n" * 32


def test_a_sealed_record_opens_at_its_place() -> None:
    ring = Keyring(OLD)
    sealed = ring.seal(SECRET, PLACE)
    assert ring.unseal(sealed, PLACE) == SECRET
    assert b"canary" not in sealed
    assert ring.seal(SECRET, PLACE) != sealed, "the same secret never looks the same"


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, app_id="ap2"),
        replace(PLACE, channel="alipay"),
        replace(PLACE, account_id="ac2"),
        replace(PLACE, version=2),
    ],
)
def test_a_record_that_was_moved_does_not_open(elsewhere: Place) -> None:
    ring = Keyring(OLD)
    sealed = ring.seal(SECRET, PLACE)
    with pytest.raises(CannotUnseal):
        ring.unseal(sealed, elsewhere)
    with pytest.raises(CannotUnseal):
        ring.rewrap(sealed, elsewhere)


def test_a_record_that_was_changed_does_not_open_wherever_it_was_changed() -> None:
    ring = Keyring(OLD)
    sealed = ring.seal(SECRET, PLACE)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(CannotUnseal):
            ring.unseal(changed, PLACE)
    for length in range(len(sealed)):
        with pytest.raises(CannotUnseal):
            ring.unseal(sealed[:length], PLACE)


def test_rotation_of_the_master_key_reseals_the_small_key_only() -> None:
    sealed = Keyring(OLD).seal(SECRET, PLACE)
    ring = Keyring(NEW, OLD)
    assert ring.unseal(sealed, PLACE) == SECRET, "the older key still opens"
    assert not ring.is_current(sealed)
    rewrapped = ring.rewrap(sealed, PLACE)
    assert ring.is_current(rewrapped)
    assert rewrapped.endswith(sealed[-len(SECRET) - 28 :]), "the secret itself was not touched"
    assert Keyring(NEW).unseal(rewrapped, PLACE) == SECRET
    with pytest.raises(CannotUnseal):
        Keyring(NEW).unseal(sealed, PLACE)
    with pytest.raises(CannotUnseal):
        Keyring(OLD).unseal(rewrapped, PLACE)


def test_derived_keys_are_the_same_on_every_server_and_old_ones_still_check() -> None:
    assert Keyring(OLD).derive("sessions") == Keyring(OLD, NEW).derive("sessions")
    assert Keyring(OLD).derive("sessions") != Keyring(OLD).derive("pages")
    assert Keyring(NEW, OLD).derive_all("sessions") == (
        Keyring(NEW).derive("sessions"),
        Keyring(OLD).derive("sessions"),
    )


def test_a_keyring_shows_no_key() -> None:
    shown = repr(Keyring(OLD, NEW))
    assert base64.b64encode(OLD).decode() not in shown
    assert OLD.decode() not in shown
    assert OLD.hex() not in shown


# ---------------------------------------------------------------------------------------------- where keys come from


def test_the_first_start_in_development_makes_a_key_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "data" / "master.key"
    first = open_keyring(path=path, make_if_missing=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_keyring(path=path, make_if_missing=True).key_id == first.key_id
    assert os.listdir(path.parent) == ["master.key"], "nothing lies beside it"


def test_a_missing_key_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(NoMasterKey, match="does not exist"):
        open_keyring(path=tmp_path / "master.key")
    with pytest.raises(NoMasterKey, match="configured"):
        open_keyring()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    path.chmod(mode)
    with pytest.raises(NoMasterKey, match="owner alone"):
        open_keyring(path=path)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    make_key_file(path)
    text = f"{base64.b64encode(NEW).decode()},{base64.b64encode(OLD).decode()}"
    ring = open_keyring(text=text, path=path)
    assert ring.key_id == Keyring(NEW).key_id
    assert ring.unseal(Keyring(OLD).seal(SECRET, PLACE), PLACE) == SECRET


@pytest.mark.parametrize(
    "text", ["canary!", base64.b64encode(b"canary").decode(), " ", ",", base64.b64encode(b"x" * 33).decode()]
)
def test_a_bad_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(NoMasterKey) as refused:
        open_keyring(text=text)
    assert text.strip(" ,") == "" or text not in str(refused.value)


def test_a_key_file_is_rotated_without_losing_what_it_opened(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    old = open_keyring(path=path, make_if_missing=True)
    sealed = old.seal(SECRET, PLACE)
    assert add_key(path) != old.key_id
    ring = open_keyring(path=path)
    rewrapped = ring.rewrap(sealed, PLACE)
    assert drop_older_keys(path) == 1
    assert len(read_key_file(path)) == 1
    assert open_keyring(path=path).unseal(rewrapped, PLACE) == SECRET
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
