"""The same request is answered once."""

from __future__ import annotations

import pytest

from paycore.store import Conflict, RequestKey, Store, StoredRequest
from tests.store.made import APP, NOW, OTHER_APP
from tests.store.test_belt import in_threads


def request(number: str, *, app_id: str = APP, content: str = '{"amount":1,"note":"茶"}') -> StoredRequest:
    return StoredRequest(RequestKey(app_id, "CreateOrder", number), content.encode(), "or-1", "or-1", NOW)


def put(store: Store, *requests: StoredRequest) -> None:
    with store.write() as unit:
        unit.put_requests(requests)


def test_an_answered_request_is_found_with_its_content(store: Store) -> None:
    one, two = request("q-1"), request("q-1", app_id=OTHER_APP, content="{}")
    put(store, one, two)
    with store.read() as unit:
        wanted = [one.key, two.key, RequestKey(APP, "CreateRefund", "q-1"), RequestKey(APP, "CreateOrder", "q-2")]
        assert unit.find_requests(wanted) == {one.key: one, two.key: two}
        assert unit.find_requests([]) == {}


def test_who_comes_second_is_told_so(store: Store) -> None:
    put(store, request("q-1"))
    with pytest.raises(Conflict) as lost:
        put(store, request("q-2"), request("q-1", content="{}"))
    assert lost.value.constraint == "pk_requests"
    with store.read() as unit:
        assert list(unit.find_requests([request("q-1").key, request("q-2").key]).values()) == [request("q-1")]


def test_of_many_at_once_one_is_first(store: Store) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        try:
            put(store, request("q-7"))
        except Conflict:
            outcomes.append("lost")
        else:
            outcomes.append("first")

    in_threads(ask, 6)
    assert sorted(outcomes) == ["first"] + ["lost"] * 5


def test_numbers_find_their_orders(store: Store) -> None:
    from tests.store.made import stored

    [mine], [theirs] = stored(store, number="m-1"), stored(store, app_id=OTHER_APP, number="m-1")
    stored(store, number="")
    with store.read() as unit:
        assert unit.orders_by_number([(APP, "m-1"), (OTHER_APP, "m-1"), (APP, "m-2"), (APP, "")]) == {
            (APP, "m-1"): mine.now.order_id,
            (OTHER_APP, "m-1"): theirs.now.order_id,
        }
