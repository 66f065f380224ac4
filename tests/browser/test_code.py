"""The code on the screen, as a phone's camera would see it: a reader that is not ours reads the channel's text from the pixels."""

from __future__ import annotations

import base64
import json

import pytest
import zxingcpp
from playwright.async_api import Page, expect

from tests.browser.till import PHONE, Till, chooses

pytestmark = pytest.mark.asyncio(loop_scope="module")

GREY = """async (png) => {
  const picture = await createImageBitmap(new Blob([Uint8Array.from(atob(png), (c) => c.charCodeAt(0))]));
  const pen = new OffscreenCanvas(picture.width, picture.height).getContext("2d");
  pen.drawImage(picture, 0, 0);
  const { data } = pen.getImageData(0, 0, picture.width, picture.height);
  const grey = Uint8Array.from({ length: data.length / 4 }, (_, n) => data[4 * n + 1]);
  return [picture.width, picture.height, btoa(Array.from(grey, (byte) => String.fromCharCode(byte)).join(""))];
}"""


async def read(page: Page) -> str:
    """What stands in the code that the page shows."""
    shot = await page.locator(".code").screenshot()
    desk = await page.context.new_page()
    width, height, grey = await desk.evaluate(GREY, base64.b64encode(shot).decode())
    await desk.close()
    found = zxingcpp.read_barcode(memoryview(base64.b64decode(grey)).cast("B", (height, width)))
    assert found is not None
    text: str = found.text
    return text


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_code_on_the_screen_says_what_the_channel_wants_scanned(till: Till, theme: str) -> None:
    order, page = await till.visit(await till.person(size=PHONE, theme=theme))
    await chooses(page, "QR")
    await page.locator("#pay").click()
    await expect(page.locator(".code svg")).to_be_visible()
    [step] = (await till.payment(order)).action.steps
    assert await read(page) == json.loads(step.params_json)["content"]
