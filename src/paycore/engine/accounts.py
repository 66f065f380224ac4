"""Merchant accounts: their secrets sealed in the store, their channels open in memory.

An account is opened off the event loop, once, and kept. Every few seconds its row is looked at again, so that what an
operator changed on the database takes hold without a restart. While the store cannot be reached, what is open stays open.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, cast

from paycore.channel import (
    AccountKeys,
    Channel,
    ChannelKind,
    ChannelVerb,
    Environment,
    KeyState,
    KeyVersion,
    Secret,
    Setting,
)
from paycore.core.ids import Prefix
from paycore.core.refusals import Reason, Refused
from paycore.core.terms import SECOND
from paycore.engine.clock import Clock
from paycore.engine.host import Host, check_channel
from paycore.engine.ids import Ids
from paycore.engine.keyring import CannotUnseal, Keyring, Place
from paycore.engine.memory import Memory
from paycore.engine.workshop import Stuck
from paycore.store import Account, AccountBlob, AccountState, AccountVersion, Unit, VersionState

log = logging.getLogger("paycore.engine.accounts")

T = TypeVar("T")

FRESH = 2 * SECOND
"""How old what we know of an account may be."""
OPEN_SECONDS = 20.0
"""How long a plugin may take to parse an account's keys."""
SIGNS = frozenset({VersionState.ACTIVE, VersionState.DRAINING})
MAX_SETTING = 64 * 1024


class AccountUnusableNow(Exception):
    """The account cannot be used: its plugin is missing, its settings do not open, or nobody can sign. No secret in the text."""


class BadSettings(Exception):
    """Settings that an account cannot be opened with. The text names the setting and repeats none."""


class WouldStrand(Exception):
    """Open tasks of the account would be left with nobody to sign for them."""


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """An account whose channel is open. `signing` is the version that signs; None when only verify-only ones are left."""

    account: Account
    kind: ChannelKind
    channel: Channel
    signing: int | None
    takes_payments: bool
    """Whether new payments may begin: it is not suspended, and an active version signs."""

    @property
    def account_id(self) -> str:
        return self.account.account_id

    @property
    def app_id(self) -> str:
        return self.account.app_id

    @property
    def environment(self) -> str:
        return self.account.environment

    @property
    def merchant(self) -> str:
        return self.account.merchant


@dataclass(frozen=True, slots=True)
class _Known:
    """What we know of an account, and since when by the steady clock."""

    account: Account
    versions: tuple[AccountVersion, ...]
    seen_at: int
    opened: OpenAccount | None
    problem: str = ""
    blob_cipher: bytes | None = None

    def is_same(self, account: Account, versions: Sequence[AccountVersion], blob_cipher: bytes | None) -> bool:
        """Whether the rows say what they said when it was opened."""
        return (self.account, self.versions, self.blob_cipher) == (account, tuple(versions), blob_cipher)


class Accounts:
    """Opens accounts and keeps them open."""

    def __init__(self, memory: Memory, keyring: Keyring, host: Host, clock: Clock, ids: Ids) -> None:
        self._memory = memory
        self._keyring = keyring
        self._host = host
        self._clock = clock
        self._ids = ids
        self._known: dict[str, _Known] = {}
        self._of_app: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._opening: dict[str, asyncio.Task[_Known]] = {}

    # ------------------------------------------------------------------------------------ opening

    async def open(self, account_id: str) -> OpenAccount:
        """The account, open. Raises Refused (ACCOUNT_NOT_FOUND, or the store's words) and AccountUnusableNow."""
        known = await self._fresh(account_id)
        if known.opened is None:
            raise AccountUnusableNow(known.problem)
        return known.opened

    async def for_app(self, app_id: str) -> list[OpenAccount]:
        """The app's accounts that could be opened, oldest first."""
        opened = await asyncio.gather(*(self._fresh(account_id) for account_id in await self._ids_of(app_id)))
        return [known.opened for known in opened if known.opened is not None]

    async def rows_of(self, app_id: str) -> list[Account]:
        """The app's accounts, those that cannot be opened too, oldest first."""
        return [(await self._fresh(account_id)).account for account_id in await self._ids_of(app_id)]

    def forget(self) -> None:
        """Look at every account anew from now on."""
        long_ago = self._clock.steady() - FRESH
        self._known = {account_id: replace(known, seen_at=long_ago) for account_id, known in self._known.items()}
        self._of_app.clear()

    async def _ids_of(self, app_id: str) -> tuple[str, ...]:
        looks_at = self._clock.steady()
        seen_at, ids = self._of_app.get(app_id, (None, ()))
        if seen_at is not None and looks_at - seen_at < FRESH:
            return ids
        try:
            found = await self._memory.read(lambda unit: unit.list_accounts(app_id=app_id))
        except Refused:
            if seen_at is None:
                raise
            return ids
        ordered = tuple(one.account_id for one in sorted(found, key=lambda one: (one.created_at, one.account_id)))
        self._of_app[app_id] = (looks_at, ordered)
        return ordered

    async def _fresh(self, account_id: str) -> _Known:
        """What we know of the account, looked at within the last seconds. Callers that ask at once share one look."""
        known = self._known.get(account_id)
        if known is not None and self._clock.steady() - known.seen_at < FRESH:
            return known
        task = self._opening.get(account_id)
        if task is None:
            task = self._opening[account_id] = asyncio.create_task(self._look(account_id))
            task.add_done_callback(lambda _: self._opening.pop(account_id, None))
        return await asyncio.shield(task)

    async def _look(self, account_id: str) -> _Known:
        known, looks_at = self._known.get(account_id), self._clock.steady()
        try:
            account, versions, blob = await self._memory.read(lambda unit: self._all_rows(unit, account_id))
        except Refused as refused:
            if known is None or refused.reason is not Reason.STORE_UNAVAILABLE:
                raise
            return known
        if known is not None and known.is_same(account, versions, blob) and not known.problem:
            known = replace(known, seen_at=looks_at)
        else:
            known = await self._opened(account, versions, blob, looks_at)
        self._known[account_id] = known
        return known

    def _all_rows(self, unit: Unit, account_id: str) -> tuple[Account, list[AccountVersion], bytes | None]:
        """The account, its key versions, and what it fetched where its kind fetches anything."""
        account, versions = _rows(unit, account_id)
        kind = self._host.kind(account.channel)
        if kind is None or ChannelVerb.REFRESH not in kind.verbs:
            return account, versions, None
        blob = unit.get_account_blob(account_id)
        return account, versions, None if blob is None else blob.blob_cipher

    async def _opened(
        self, account: Account, versions: Sequence[AccountVersion], blob_cipher: bytes | None, seen_at: int
    ) -> _Known:
        try:
            opened, problem = await self._open(account, versions, blob_cipher), ""
        except AccountUnusableNow as error:
            log.warning("account %s cannot be opened: %s", account.account_id, error)
            opened, problem = None, str(error)
        return _Known(account, tuple(versions), seen_at, opened, problem, blob_cipher)

    async def _open(
        self, account: Account, versions: Sequence[AccountVersion], blob_cipher: bytes | None
    ) -> OpenAccount:
        kind = self._host.kind(account.channel)
        if kind is None:
            raise AccountUnusableNow(f"The plugin of channel {account.channel} is not loaded.")
        if not versions:
            raise AccountUnusableNow("The account has no key version.")
        keys = [self._unsealed(kind, account, version) for version in versions]
        signing = signing_version(versions)
        channel = await self._open_channel(kind, account, keys, signing, self._fetched(account, blob_cipher))
        if channel.merchant != account.merchant:
            raise AccountUnusableNow("The settings are those of another merchant.")
        is_active = any(version.state is VersionState.ACTIVE for version in versions)
        takes_payments = is_active and account.state is AccountState.ACTIVE
        return OpenAccount(account, kind, channel, signing, takes_payments)

    def _unsealed(self, kind: ChannelKind, account: Account, version: AccountVersion) -> KeyVersion:
        try:
            plain = self._keyring.unseal(version.settings_cipher, _place(account, version.version))
            settings = json.loads(plain)
        except (CannotUnseal, ValueError) as error:
            raise AccountUnusableNow(f"Key version {version.version} does not open: {error}") from None
        return _key_version(kind, version.version, KeyState[version.state.name], settings)

    def _fetched(self, account: Account, blob_cipher: bytes | None) -> Secret | None:
        """What the account fetched. What does not open is as if it had not been fetched yet: it will be, again."""
        if blob_cipher is None:
            return None
        try:
            return Secret(self._keyring.unseal(blob_cipher, _blob_place(account)).decode())
        except (CannotUnseal, UnicodeDecodeError) as error:
            log.warning("what account %s fetched does not open: %s", account.account_id, error)
            return None

    async def _open_channel(
        self,
        kind: ChannelKind,
        account: Account,
        keys: Sequence[KeyVersion],
        signing: int | None,
        blob: Secret | None = None,
    ) -> Channel:
        """The channel of these keys, opened beside the event loop. Raises AccountUnusableNow."""
        given = AccountKeys(
            account.account_id,
            Environment(account.environment),
            tuple(sorted(keys, key=lambda one: -one.version)),
            next((one for one in keys if one.version == signing), None),
            blob,
        )

        def work() -> Channel:
            channel = kind.open(given)
            check_channel(kind, channel)
            return cast("Channel", channel)  # it has every verb that will be called

        try:
            return await self._host.workshop(kind.name).run(work, seconds=OPEN_SECONDS)
        except ValueError as error:
            raise AccountUnusableNow(f"The channel does not open: {_one_line(error)}.") from None
        except Stuck:
            problem = "it does not come back"
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            problem = f"it raised {type(error).__name__}"
        self._host.crashed(kind.name, "open", problem, self._clock.now(), counts=False)
        raise AccountUnusableNow(f"The channel does not open: {problem}.")

    # ------------------------------------------------------------------------------------ changing

    async def add(
        self, app_id: str, channel: str, environment: str, settings: Mapping[str, str], *, title: str = ""
    ) -> Account:
        """A new account with its first key version. Raises BadSettings, and ValueError when the merchant has one there already."""
        kind = self._kind(channel)
        if environment not in {one.value for one in kind.environments}:
            raise BadSettings(f"{channel} has no environment of this name.")
        now = self._clock.now()
        account = Account(self._ids.mint(Prefix.ACCOUNT), app_id, channel, environment, "?", now, title=title)
        merchant = (await self._try(kind, account, 1, settings)).merchant
        account = replace(account, merchant=merchant)
        version = self._seal(kind, account, 1, settings, now)

        def write(unit: Unit) -> None:
            if any(_identity(one) == _identity(account) for one in unit.list_accounts(app_id=app_id)):
                raise ValueError("The app has an account of this merchant there already; rotate its keys instead.")
            unit.put_account(account)
            unit.put_account_version(version)

        await self._memory.write(write)
        self.forget()
        return account

    async def rotate(self, account_id: str, settings: Mapping[str, str]) -> AccountVersion:
        """A new key version that signs from now on; the ones before only verify. Raises BadSettings."""
        account, versions = await self._memory.read(lambda unit: _rows(unit, account_id))
        kind = self._kind(account.channel)
        number = max((version.version for version in versions), default=0) + 1
        channel = await self._try(kind, account, number, settings)
        if channel.merchant != account.merchant:
            raise BadSettings("The settings are those of another merchant; that would be another account.")
        fresh = self._seal(kind, account, number, settings, self._clock.now())

        def write(unit: Unit) -> None:
            for version in _rows(unit, account_id, lock=True)[1]:
                if version.version >= number:
                    raise ValueError("Somebody else rotated the account at the same time.")
                if version.state in SIGNS:
                    unit.put_account_version(replace(version, state=VersionState.VERIFY_ONLY))
            unit.put_account_version(fresh)

        await self._memory.write(write)
        self.forget()
        return fresh

    async def set_version_state(self, account_id: str, number: int, state: VersionState) -> AccountVersion:
        """Let a key version be used for this from now on. Raises WouldStrand when open tasks would have no signer."""

        def write(unit: Unit) -> AccountVersion:
            _, versions = _rows(unit, account_id, lock=True)
            found = next((version for version in versions if version.version == number), None)
            if found is None:
                raise LookupError(f"The account has no key version {number}.")
            changed = replace(found, state=state)
            rest = [version for version in versions if version.version != number]
            if not any(version.state in SIGNS for version in (*rest, changed)):
                _refuse_to_strand(unit, account_id)
            for version in rest:
                if state is VersionState.ACTIVE and version.state is VersionState.ACTIVE:
                    unit.put_account_version(replace(version, state=VersionState.VERIFY_ONLY))
            unit.put_account_version(changed)
            return changed

        changed = await self._memory.write(write)
        self.forget()
        return changed

    async def fetched(self, account: Account) -> Secret | None:
        """What the account's last refresh fetched."""
        blob = await self._memory.read(lambda unit: unit.get_account_blob(account.account_id))
        return None if blob is None else self._fetched(account, blob.blob_cipher)

    async def keep_fetched(self, account: Account, blob: Secret, due_at: int) -> None:
        """Seal what a refresh fetched; whoever opens the account from now on opens it with that."""
        cipher = self._keyring.seal(blob.reveal().encode(), _blob_place(account))
        row = AccountBlob(account.account_id, account.app_id, due_at, cipher, self._clock.now())

        def write(unit: Unit) -> None:
            unit.get_account(account.account_id, lock=True)  # whoever puts records under another key has to wait
            unit.put_account_blob(row)

        await self._memory.write(write)
        self.forget()

    async def rewrap(self, progress: Callable[[int, int], None] = lambda done, of: None) -> int:
        """Put every record under the current master key and return how many were not. Safe to repeat, safe to interrupt."""
        accounts = await self._memory.read(lambda unit: unit.list_accounts())
        rewrapped = 0
        for done, account in enumerate(accounts, start=1):
            rewrapped += await self._memory.write(partial(self._rewrap, account))
            progress(done, len(accounts))
        return rewrapped

    def _rewrap(self, account: Account, unit: Unit) -> int:
        _, versions = _rows(unit, account.account_id, lock=True)
        stale = [version for version in versions if not self._keyring.is_current(version.settings_cipher)]
        for version in stale:
            cipher = self._keyring.rewrap(version.settings_cipher, _place(account, version.version))
            unit.put_account_version(replace(version, settings_cipher=cipher))
        blob = unit.get_account_blob(account.account_id)
        if blob is None or blob.blob_cipher is None or self._keyring.is_current(blob.blob_cipher):
            return len(stale)
        unit.put_account_blob(replace(blob, blob_cipher=self._keyring.rewrap(blob.blob_cipher, _blob_place(account))))
        return len(stale) + 1

    # ------------------------------------------------------------------------------------ settings

    def _kind(self, channel: str) -> ChannelKind:
        kind = self._host.kind(channel)
        if kind is None:
            raise BadSettings(f"No plugin for the channel {channel[:32]} is loaded.")
        return kind

    async def _try(self, kind: ChannelKind, account: Account, number: int, settings: Mapping[str, str]) -> Channel:
        """Open the channel with these settings, to see that they work. Raises BadSettings."""
        version = _key_version(kind, number, KeyState.ACTIVE, check_settings(kind.settings, settings))
        try:
            return await self._open_channel(kind, account, [version], number)
        except AccountUnusableNow as error:
            raise BadSettings(str(error)) from None

    def _seal(
        self, kind: ChannelKind, account: Account, number: int, settings: Mapping[str, str], now: int
    ) -> AccountVersion:
        whole = json.dumps(check_settings(kind.settings, settings), sort_keys=True).encode()
        cipher = self._keyring.seal(whole, _place(account, number))
        return AccountVersion(account.account_id, number, account.app_id, cipher, now)


def signing_version(versions: Collection[AccountVersion]) -> int | None:
    """The version that signs: the active one, else the newest that is draining, else nobody."""
    active = [version.version for version in versions if version.state is VersionState.ACTIVE]
    draining = [version.version for version in versions if version.state is VersionState.DRAINING]
    return max(active or draining, default=None)


def check_settings(wanted: Sequence[Setting], given: Mapping[str, str]) -> dict[str, str]:
    """The settings with defaults filled in. Raises BadSettings, which names a setting and never repeats it."""
    unknown = sorted(given.keys() - {setting.name for setting in wanted})
    if unknown:
        raise BadSettings(f"There is no setting {unknown[0][:64]}.")
    settings: dict[str, str] = {}
    for setting in wanted:
        value = given.get(setting.name) or setting.default
        if not value:
            if setting.required:
                raise BadSettings(f"The setting {setting.name} is missing.")
            continue
        if len(value) > MAX_SETTING or "\0" in value:
            raise BadSettings(f"The setting {setting.name} is not a text that can be kept.")
        if setting.pattern and re.fullmatch(setting.pattern, value) is None:
            raise BadSettings(f"The setting {setting.name} is not well formed.")
        settings[setting.name] = value
    return settings


def _key_version(kind: ChannelKind, number: int, state: KeyState, settings: Mapping[str, str]) -> KeyVersion:
    secrets = {setting.name for setting in kind.settings if setting.secret}
    return KeyVersion(
        number, state, {name: Secret(value) if name in secrets else value for name, value in settings.items()}
    )


def _rows(unit: Unit, account_id: str, *, lock: bool = False) -> tuple[Account, list[AccountVersion]]:
    """An account with its versions. Locked, nobody else changes its versions before the commit."""
    account = unit.get_account(account_id, lock=lock)
    if account is None:
        raise Refused(Reason.ACCOUNT_NOT_FOUND, "There is no such account.", account_id=account_id)
    return account, unit.account_versions(account_id)


def _refuse_to_strand(unit: Unit, account_id: str) -> None:
    tasks = unit.count_open_tasks(account_id)
    if tasks:
        raise WouldStrand(f"{tasks} open payments and refunds of the account would have nobody to sign for them.")


def _identity(account: Account) -> tuple[str, str, str]:
    return account.channel, account.environment, account.merchant


def _place(account: Account, version: int) -> Place:
    return Place(account.app_id, account.channel, account.account_id, version)


def _blob_place(account: Account) -> Place:
    """Where what an account fetched is bound to; key versions begin at 1."""
    return _place(account, 0)


def _one_line(error: Exception) -> str:
    """What the plugin says is wrong, kept short. The channel API has it promise that no secret is in it."""
    return re.sub(r"\s+", " ", str(error))[:200].rstrip(".") or type(error).__name__
