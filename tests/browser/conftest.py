"""A real browser in front of a real server; people who pay at the sandbox."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from paycore.testing.server import RunningServer, running_server
from tests.browser.till import Till
from tests.support.loud import loudly_skip

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The browser's program."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        loudly_skip("the cashier's page needs a browser: apt-get install chromium")
    return program


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[RunningServer]:
    async with running_server() as server:
        yield server


@pytest_asyncio.fixture(loop_scope="module")
async def till(server: RunningServer, browser: Browser) -> AsyncIterator[Till]:
    async with Till.open(server, browser) as till:
        yield till
