"""The page for people, in a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from browser import CHROMIUM, FLAGS
from operated import GPU, HCA, OperatedNode, operated
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect
from tools import tool

from hub.state import HubState, read_file


@pytest.fixture(autouse=True)
def _browser() -> None:
    """Skip these tests where there is no Chromium."""
    tool("chromium")


@asynccontextmanager
async def _page(node: OperatedNode, width: int, scheme: str = "light") -> AsyncIterator[tuple[Page, list[str]]]:
    """The page, and the addresses that the browser has asked for because of it."""
    hub = read_file(node.run_dir.hub_state, HubState)
    assert hub
    asked: list[str] = []
    async with async_playwright() as player:
        browser = await player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
        )
        page = await context.new_page()
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
        await page.goto(f"http://{hub.http}/")
        await expect(page.locator(".device").first).to_be_visible()
        yield page, asked
        assert faults == []
        await browser.close()


def _is_fault(message: ConsoleMessage) -> bool:
    """Whether the browser complains of the page; that a hub which was stopped does not answer is no fault of it."""
    return message.type == "error" and "ERR_CONNECTION_REFUSED" not in message.text


async def test_the_node_as_a_picture() -> None:
    """NUMA nodes hold PCIe switches, those hold the GPUs and HCAs below them; health and holder stand on each."""
    async with operated() as node:
        pod = await node.kubelet.admit("trainer", {GPU: 1})
        (held,) = pod.containers["main"].devices[GPU]
        node.hcas.set_port("mlx5_7", "DOWN")
        await node.status_until(lambda status: not status.well, "a port that is down")
        async with _page(node, 1400) as (page, asked):
            await expect(page.locator(".numa > h2")).to_have_text(["NUMA node 0", "NUMA node 1"])
            switches = page.locator(".switch")
            await expect(switches).to_have_count(4)
            for number in range(4):
                await expect(switches.nth(number).locator(".device")).to_have_count(4)
            card = page.locator(".device", has_text=held)
            await expect(card.locator(".holder")).to_have_text("default/trainer/main")
            broken = page.locator(".device.unhealthy")
            await expect(broken).to_have_count(1)
            await expect(broken).to_contain_text("port 1 of mlx5_7 is DOWN (Polling)")
            await expect(page.locator("#verdict")).to_have_text("Something is wrong")
            # It refreshes by itself, both ways.
            node.hcas.set_port("mlx5_7", "ACTIVE")
            await expect(page.locator("#verdict")).to_have_text("All is well", timeout=30_000)
            await expect(broken).to_have_count(0)
            node.gpus.xid(0, 79)
            await expect(page.locator(".device.unhealthy")).to_contain_text("XID 79", timeout=30_000)
            # Without the hub, it says so and keeps what it had.
            await node.stop_hub()
            await expect(page.locator("#verdict")).to_contain_text("The hub does not answer", timeout=30_000)
            await expect(page.locator(".device")).to_have_count(20)
            faults = [url for url in asked if not url.startswith(("http://127.0.0.1:", "data:"))]
            assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 800, 1400])
async def test_it_fits(shown_node: OperatedNode, width: int, scheme: str) -> None:
    """Nothing has to be scrolled sideways, and text is dark on light or light on dark, on a telephone too."""
    async with _page(shown_node, width, scheme) as (page, _):
        too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not await page.evaluate(too_wide)
        ink, paper = await page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
            ".map((text) => text.match(/\\d+/g).slice(0, 3).map(Number).reduce((a, b) => a + b))"
        )
        assert (ink > paper) == (scheme == "dark")
        assert abs(ink - paper) > 450


async def test_what_comes_from_elsewhere_is_text() -> None:
    """A reason with markup in it is shown as it is, and runs nothing."""
    async with operated() as node:
        node.stub_faults(unhealthy={"stub-0": "<img src=x onerror=alert(1)>"})
        await node.status_until(lambda status: not status.well, "a device that is not healthy")
        async with _page(node, 1000) as (page, _):
            await expect(page.locator(".device.unhealthy .reason")).to_have_text("<img src=x onerror=alert(1)>")
            await expect(page.locator("img")).to_have_count(0)


@pytest.fixture
async def shown_node() -> AsyncIterator[OperatedNode]:
    """A node with something of everything to show."""
    async with operated() as node:
        await node.kubelet.admit("a-pod-with-a-name-that-is-rather-long-as-generated-ones-are", {GPU: 4, HCA: 4})
        node.gpus.xid(6, 79)
        await node.dphub("cordon", "stub-3", "--reason", "the fan is loud and nobody has the time to look after it")
        await node.status_until(lambda status: not status.well, "something to show")
        yield node
