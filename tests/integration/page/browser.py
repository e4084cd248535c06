"""Chromium without a screen and without access to the network."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from hub.testing.waiting import WAIT_SECONDS

CHROMIUM = Path(sys.executable).with_name("chromium")
ELSEWHERE = "node-a.example.com"
"""A name of this machine that browsers do not recognize as such: they treat it as a host on the network."""

FLAGS = [
    "--no-sandbox",  # which root cannot have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
]

expect.set_options(timeout=WAIT_SECONDS * 1000)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start a browser."""
    async with async_playwright() as player:
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, width: int = 1400, *, dark: bool = False, touch: bool = False
) -> AsyncIterator[Page]:
    """Open a page; at the end of the block it must have reported no error, and sent requests only to its hub."""
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", has_touch=touch
    )
    page = await context.new_page()
    faults: list[str] = []
    host = url.split("/")[2]
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
    page.on(
        "request", lambda asked: faults.append(asked.url) if asked.url.split("/")[2:3] not in ([host], []) else None
    )
    try:
        await page.goto(url)
        await page.locator("#hub summary").wait_for()
        yield page
    finally:
        await context.close()
    assert not faults, faults


def _is_fault(message: ConsoleMessage) -> bool:
    """Return whether the browser reports an error in the page; a hub that does not answer is not one."""
    return message.type == "error" and "net::ERR_" not in message.text
