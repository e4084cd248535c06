"""The devices on the page: their order, how to find them, and whether everything known about them can be reached."""

import re
from collections.abc import Iterator

import msgspec
import pytest
from playwright.async_api import Browser, Locator, Page, expect

from tests.integration.page.browser import opened
from tests.integration.page.page_node import PageNode, bad, device, large_node, plugin

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_worst_devices_come_first(browser: Browser, page_node: PageNode) -> None:
    """Devices that cannot be used are on top, with the reason; one that fails later moves there on its own."""
    async with opened(browser, page_node.url) as page:
        states = await page.locator(".device .state").all_inner_texts()
        assert [state.split("\n")[0] for state in states] == [
            *("unhealthy", "recovering", "cordoned", "healthy", "healthy", "healthy", "excluded")
        ]
        page_node.says(plugin([device(0), device(1), bad(2, "XID 79")]))
        await expect(page.locator(".device").first).to_contain_text("XID 79")
        await expect(page.locator(".device")).to_have_count(3)


async def test_no_device_is_cut_silently(browser: Browser, page_node: PageNode) -> None:
    """Of a thousand devices, the worst are drawn; the page gives the total, and shows the rest on request."""
    page_node.says(large_node(1000))
    async with opened(browser, page_node.url) as page:
        await expect(page.locator("#count")).to_have_text("1,000 devices; the worst 200 are shown")
        await expect(page.locator(".device .reason")).to_have_text(["the link is down", "the fan is loud"])
        await page.get_by_role("button", name="Show 200 more").click()
        await expect(page.locator(".device")).to_have_count(400)
        await expect(page.locator("summary:focus")).to_contain_text("stub-198")
        await page.get_by_role("button", name="Show all 1,000").click()
        await expect(page.locator(".device")).to_have_count(1000)
        await expect(page.locator("#count")).to_have_text("1,000 devices, worst first")
        await expect(page.locator("#more")).to_be_empty()


async def test_the_largest_node(browser: Browser, page_node: PageNode) -> None:
    """A search finds one of 16,384 devices, and a filter shows those that are not healthy."""
    page_node.says(large_node(16_384))
    async with opened(browser, page_node.url) as page:
        await expect(page.locator(".device")).to_have_count(200)
        await page.get_by_role("searchbox").fill("stub-16000")
        await expect(page.locator(".device .name")).to_have_text(["stub-16000"])
        await page.get_by_role("button", name="Clear filters").click()
        await page.get_by_role("button", name="Cordoned 1").click()
        await expect(page.locator(".device .name")).to_have_text(["stub-16383"])


async def test_search_and_filters_are_in_the_address(browser: Browser, page_node: PageNode) -> None:
    """The search covers ids, pods, addresses and reasons; a link to the results shows the same to another user."""
    async with opened(browser, page_node.url) as page:
        search = page.get_by_role("searchbox", name="Search devices")
        for words, names in (
            ("trainer-0", ["stub-1", "card-9"]),
            ("0000:00:02.0", ["stub-2"]),
            ("sn-0815", ["Stub 3000 · 0stub-0"]),
            ("FAN numa 1", ["stub-3"]),
            ("nothing has this", []),
        ):
            await search.fill(words)
            await expect(page.locator(".device .name")).to_have_text(names)
        await expect(page.locator("#count")).to_have_text("0 of 6 devices and 1 excluded match")
        await search.fill("stub")
        await page.get_by_role("button", name="In use 2").click()
        await page.get_by_role("button", name="Topology").click()
        await expect(page).to_have_url(re.compile(r"#q=stub&show=in\+use&view=topology$"))
        link = page.url
    async with opened(browser, link) as page:
        await expect(page.get_by_role("searchbox")).to_have_value("stub")
        await expect(page.get_by_role("button", name="In use 2")).to_have_attribute("aria-pressed", "true")
        await expect(page.locator(".numa .device .name")).to_have_text(["card-9", "stub-1"])
        await page.get_by_role("button", name="Clear filters").click()
        await expect(page.locator(".device")).to_have_count(7)
        await expect(page).to_have_url(re.compile("#view=topology$"))


async def test_the_keyboard_reaches_every_fact(browser: Browser, page_node: PageNode) -> None:
    """With Tab and Enter alone, everything in `/status` on plugins and devices can be read; nothing is a tooltip."""
    async with opened(browser, page_node.url) as page:
        for _ in range(await page.locator("summary").count()):
            await _tab_to(page, "details:not([open]) > summary")
            await page.keyboard.press("Enter")
            await expect(page.locator(":focus").locator("..").locator("dl").first).to_be_visible()
        shown = await page.locator("body").inner_text()
        answer = await page.request.get(f"{page_node.url}status")
        (plugin,) = (await answer.json())["plugins"]
        for resource in plugin["report"]["resources"]:
            for text in _texts(resource["devices"]):
                assert text in shown, text
        for text in ("stub-99", "killed by SIGSEGV", "code -11", "failed, took 1.50 s", "no answer", "1 crashed"):
            assert text in shown, text
        assert f"Process\n{plugin['process']['pid']}" in shown
        await expect(page.locator("[title]")).to_have_count(0)


async def test_touch_reaches_the_facts(browser: Browser, page_node: PageNode) -> None:
    """A tap opens a device, and another tap closes it, even at the width of a phone."""
    async with opened(browser, page_node.url, 390, touch=True) as page:
        line = page.locator(".device summary", has_text="Stub 3000")
        await line.tap()
        await expect(page.locator(".device .facts")).to_contain_text("SN-0815")
        await line.tap()
        await expect(page.locator(".device .facts")).to_have_count(0)


async def test_commands_are_for_a_shell(browser: Browser, page_node: PageNode) -> None:
    """If two resources have a device with the same id, problem and device show the same command, quoted as a whole."""
    one, other = (
        plugin([bad(0, "broken", id="0", source="broken")]).resources[0],
        plugin([device(0, id="0")]).resources[0],
    )
    page_node.says(plugin([], resources=(one, msgspec.structs.replace(other, name="example.com/other"))))
    async with opened(browser, page_node.url) as page:
        await page.locator(".device summary").first.press("Enter")
        command = page.get_by_role("button", name="Copy dphub uncordon 'example.com/stub 0'")
        await expect(command).to_have_count(2)
        await expect(page.get_by_role("button", name="Copy dphub cordon 'example.com/stub 0'")).to_have_count(1)


async def _tab_to(page: Page, selector: str) -> Locator:
    """Press Tab until an element that matches this selector has focus."""
    for _ in range(200):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return page.locator(":focus")
    raise AssertionError(f"Tab does not reach {selector}")


def _texts(part: object) -> Iterator[str]:
    """Yield every text in a part of the status, except the value of `health`, which the page need not repeat."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name != "health":
                yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
    elif isinstance(part, str) and part:
        yield part
