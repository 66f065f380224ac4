"""Tasks that are due, taken by a lease; and leases for what one process does for all."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from paycore.core.ids import Prefix
from paycore.core.order import Verb
from paycore.store.records import Due, Subject
from paycore.store.rows import Values, pack
from paycore.store.sql import Statement, among, same
from paycore.store.work import Work


@dataclass(frozen=True, slots=True)
class _Tasked:
    """A table whose rows carry tasks."""

    name: Subject
    prefix: Prefix
    id_column: str
    account: str
    sent_by: Verb | None
    """The verb that sends something under the row's id; taking such a task counts a send before anything leaves us."""

    @property
    def due(self) -> Statement:
        """Some rows of this table that may be taken now, the longest due first, but none of some accounts."""
        text = (
            f"SELECT '{self.name}' AS name, {self.id_column} AS id, task_ready_at FROM {self.name} "
            f"WHERE task_ready_at <= ? AND NOT ({{spared}}) ORDER BY task_ready_at, {self.id_column} LIMIT ?"
        )
        spared = among(f"coalesce({self.account}, '')")
        plain = same(text)
        return Statement(plain.sqlite.format(spared=spared.sqlite), plain.postgresql.format(spared=spared.postgresql))

    @property
    def due_one(self) -> Statement:
        """This row, if it may be taken now."""
        text = (
            f"SELECT '{self.name}', {self.id_column}, task_ready_at FROM {self.name} "
            f"WHERE task_ready_at <= ? AND {self.id_column} = ?"
        )
        plain = same(text)
        return Statement(plain.sqlite, f"{plain.postgresql} FOR UPDATE SKIP LOCKED")

    @property
    def take(self) -> Statement:
        """Lease these rows: count a try, raise the fence, count a send."""
        sends = f", sends = sends + (CASE WHEN task_verb = '{self.sent_by}' THEN 1 ELSE 0 END)" if self.sent_by else ""
        picked = among(self.id_column)
        text = (
            f"UPDATE {self.name} SET task_tries = task_tries + 1, fence = fence + 1, task_leased_until = ?, "
            f"task_ready_at = ?{sends} WHERE {{picked}} "
            f"RETURNING {self.id_column}, order_id, app_id, {self.account}, task_verb, task_tries, fence"
        )
        return Statement(text.format(picked=picked.sqlite), text.format(picked=picked.postgresql).replace("?", "%s"))


_TASKED = (
    _Tasked("orders", Prefix.ORDER, "order_id", "NULL", None),
    _Tasked("payments", Prefix.PAYMENT, "payment_id", "account_id", Verb.PREPARE),
    _Tasked("refunds", Prefix.REFUND, "refund_id", "account_id", Verb.REFUND),
)
_BY_NAME: dict[str, _Tasked] = {tasked.name: tasked for tasked in _TASKED}
_BY_PREFIX: dict[str, _Tasked] = {tasked.prefix: tasked for tasked in _TASKED}
_TAKE = {tasked.name: tasked.take for tasked in _TASKED}
_DUE_ONE = {tasked.name: tasked.due_one for tasked in _TASKED}


def _due() -> Statement:
    """What is due in all tables, the longest due first. On PostgreSQL rows that another worker is taking are passed by."""
    sqlite = ", ".join(f"{tasked.name}_due AS ({tasked.due.sqlite})" for tasked in _TASKED)
    postgresql = ", ".join(f"{t.name}_due AS ({t.due.postgresql} FOR UPDATE SKIP LOCKED)" for t in _TASKED)
    chosen = " UNION ALL ".join(f"SELECT * FROM {tasked.name}_due" for tasked in _TASKED) + " ORDER BY 3, 2"
    return Statement(f"WITH {sqlite} {chosen} LIMIT ?", f"WITH {postgresql} {chosen} LIMIT %s")


_DUE = _due()
_NEXT_DUE = same(
    "SELECT min(ready) FROM ("
    + " UNION ALL ".join(
        f"SELECT min(task_ready_at) AS ready FROM {tasked.name} WHERE task_ready_at IS NOT NULL" for tasked in _TASKED
    )
    + ") AS readiest"
)
_TAKE_LEASE = same(
    "INSERT INTO leases (name, owner, leased_until) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE "
    "SET owner = excluded.owner, leased_until = excluded.leased_until "
    "WHERE leases.owner = excluded.owner OR leases.leased_until <= ?"
)
_DROP_LEASE = same("DELETE FROM leases WHERE name = ? AND owner = ?")


class Tasks(Work):
    """What must be done next, by whom."""

    def claim_due(
        self,
        now: int,
        lease_until: int,
        limit: int,
        *,
        subject_id: str | None = None,
        sparing: Collection[str] = (),
    ) -> list[Due]:
        """Take tasks that are due, the longest due first, each by a lease until then.

        Nobody else gets them until the lease ends. A try is counted, and a send where the task sends something: a crash
        cannot hide one. With `subject_id` only that row's task is taken, if it is due and free. Tasks of the accounts
        in `sparing` are left ("" means those of no account).
        """
        found = self._due_of(subject_id, now) if subject_id else self._all_due(now, limit, sparing)
        taken = {
            due.subject_id: due
            for name in _BY_NAME
            for due in self._take(name, [subject for table, subject, _ in found if table == name], lease_until)
        }
        return [taken[subject] for _, subject, _ in found]

    def _all_due(self, now: int, limit: int, sparing: Collection[str]) -> list[Values]:
        return self.rows(_DUE, *((now, pack(sorted(sparing)), limit) * len(_TASKED)), limit)

    def _due_of(self, subject_id: str, now: int) -> list[Values]:
        tasked = _BY_PREFIX.get(subject_id[:2])
        return self.rows(_DUE_ONE[tasked.name], now, subject_id) if tasked else []

    def _take(self, name: str, subjects: list[str], lease_until: int) -> Iterable[Due]:
        if not subjects:
            return
        rows = self.rows(_TAKE[_BY_NAME[name].name], lease_until, lease_until, pack(subjects))
        for subject_id, order_id, app_id, account_id, verb, tries, fence in rows:
            yield Due(
                table=_BY_NAME[name].name,
                subject_id=subject_id,
                order_id=order_id,
                app_id=app_id,
                account_id=account_id,
                verb=Verb(verb),
                tries=tries,
                fence=fence,
                leased_until=lease_until,
            )

    def next_due_at(self, now: int) -> int | None:
        """When the next task may be taken, at the earliest now; None when there is none."""
        [(ready,)] = self.rows(_NEXT_DUE)
        return None if ready is None else max(int(ready), now)

    def take_lease(self, name: str, owner: str, now: int, until: int) -> bool:
        """Whether this owner now holds (or goes on holding) something that one process does for all."""
        return self._change(_TAKE_LEASE, name, owner, until, now) == 1

    def drop_lease(self, name: str, owner: str) -> None:
        """Let go of a lease, so that another need not wait for its end."""
        self._change(_DROP_LEASE, name, owner)
