"""The cashier's page whatever its server, its app and its payer do: faults by hypothesis, in a real engine, with the clock in hand.

Every call ends in its own time, nothing is "paid" before the server says so, a tap asks for one payment and starts one SDK at
most, and what an app claims is kept for the payment that it is about.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.async_api import Browser, Page, Route

from paycore_bridge import runtime

from .engine import ORIGIN

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORLD = Path(__file__).parent / "js/cashier_world.js"
MILLISECONDS = st.sampled_from([0, 30, 900, 2_600, 8_000, 21_000, 40_000, 130_000])


def faults(*how: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    """What goes wrong, in order; after the last of them nothing does."""
    return st.lists(st.fixed_dictionaries({"how": st.sampled_from(how), "ms": MILLISECONDS}), max_size=8)


ACTS = ["pay", "pay twice", "again", "other", "renew", "switch", "hide", "show", "back", "online", "reload", "scan"]
SDK = st.fixed_dictionaries(
    {"code": st.sampled_from(["9000", "8000", "6001", "4000", "5000"]), "pays": st.booleans(), "ms": MILLISECONDS}
)
STORIES = st.fixed_dictionaries(
    {
        "net": faults(*["ok"] * 5, "lost", "unheard", "error", "never", "slow", "stale"),
        "streams": faults("ok", "broken", "ended", "silent"),
        "shell": st.none()
        | faults(*["ok"] * 8, "deaf", "lost", "late", "twice", "wrong id", "another's", "rubbish", "strange", "dies"),
        "preparing": st.lists(MILLISECONDS, max_size=3),
        "sdk": st.lists(SDK, max_size=4),
        "acts": st.lists(st.tuples(st.sampled_from(ACTS), MILLISECONDS), min_size=1, max_size=8).map(
            lambda acts: [("pay", 900), *acts]
        ),
    }
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(browser: Browser) -> AsyncIterator[Page]:
    """The page with its element, and the world around it."""
    page = await browser.new_page(viewport={"width": 360, "height": 740})
    parts = {
        "/world.js": WORLD.read_text("utf-8"),
        "/cashier.js": files("paycore_bridge").joinpath("cashier/cashier.js").read_text("utf-8"),
    }
    text = '<!doctype html><meta charset="utf-8"><body><script src="/world.js"></script><script type="module" src="/cashier.js"></script>'

    async def serve(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        kind = "text/javascript" if path in parts else "text/html"
        await route.fulfill(body=parts.get(path, text), content_type=kind)

    await page.route("**/*", serve)
    await page.goto(f"{ORIGIN}/")
    await page.evaluate("(text) => { window.RUNTIME = text; }", runtime.script("core", "plan"))
    yield page
    await page.context.close()


async def test_the_world_is_one_in_which_one_can_pay(stage: Page) -> None:
    """Without a fault: by the app and by a code, so that the stories below are about faults and not about the world."""
    calm: dict[str, Any] = {
        "net": [],
        "streams": [],
        "preparing": [2_600],
        "sdk": [{"code": "9000", "pays": True, "ms": 900}],
    }
    by_app = await stage.evaluate("story", {**calm, "shell": [], "acts": [["pay", 9_000]]})
    assert (by_app["problems"], by_app["view"], by_app["started"]) == ([], "paid", 1)
    assert by_app["reports"] == [["py_1", "success_claimed"]]
    by_code = await stage.evaluate(
        "story", {**calm, "shell": None, "acts": [["switch", 0], ["pay", 900], ["scan", 9_000]]}
    )
    assert (by_code["problems"], by_code["view"], by_code["submits"], by_code["pictures"]) == ([], "paid", 1, 1)


async def test_an_older_word_of_the_server_never_replaces_a_newer_one(stage: Page) -> None:
    """An answer that was under way while the order was paid says what was so before."""
    calm = {"how": "ok", "ms": 0}
    late = {"net": [calm, calm, calm, calm, {"how": "stale", "ms": 8_000}], "streams": [], "preparing": [], "sdk": []}
    acts = [["switch", 0], ["pay", 900], ["online", 30], ["scan", 9_000]]
    seen = await stage.evaluate("story", {**late, "shell": None, "acts": acts})
    assert (seen["problems"], seen["view"]) == ([], "paid")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(story=STORIES)
async def test_whatever_goes_wrong_the_page_is_honest_and_ends(stage: Page, story: dict[str, Any]) -> None:
    seen = await stage.evaluate("story", story)
    assert seen["problems"] == []
