"""The page for people, in a real browser."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from hub.testing.waiting import WAIT_SECONDS
from tests.integration.page.browser import ELSEWHERE, opened
from tests.integration.page.page_node import HOLDER, PageNode, bad, device, plugin

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAUSES = """
window.pauses = [];
window.left = 0;
const line = document.querySelector("#gone-next span");
new MutationObserver(() => {
  const seconds = Number(line.textContent.match(/Retrying in (\\d+) s/)?.[1] || 0);
  if (seconds > left) pauses.push(seconds);
  left = seconds;
}).observe(line, {childList: true, characterData: true, subtree: true});
"""
"""Code that records how long the page intends to wait after each attempt."""

CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
"""Code that finds text with too little contrast."""


async def test_the_node_and_its_problems_come_first(browser: Browser, page_node: PageNode) -> None:
    """The title and the header name the node and count its problems; the problems follow the totals, then the rest."""
    async with opened(browser, page_node.url) as page:
        await expect(page).to_have_title("2 problems - node-a - Device Plugin Hub")
        await expect(page.get_by_role("heading", level=1)).to_have_text("node-a")
        await expect(page.get_by_role("banner").get_by_role("status")).to_have_text("2 problems")
        await expect(page.locator("#totals > div")).to_contain_text(["Devices6", "Not healthy3", "In use2"])
        assert await page.get_by_role("heading", level=2).all_inner_texts() == [
            *("Problems", "Notes", "Plugins", "Devices", "Hub")
        ]
        problems = page.locator("#problems ul").first
        await expect(problems.get_by_role("listitem")).to_have_count(2)
        page_node.says(plugin([device(0)]))
        await expect(page).to_have_title("No problems - node-a - Device Plugin Hub")
        await expect(page.locator("#problems")).to_be_empty()


async def test_a_node_that_is_not_ready_says_so(browser: Browser, page_node: PageNode) -> None:
    """A plugin that serves nothing is more than just another problem: the node is not ready, or has no kubelet."""
    page_node.says(plugin([device(0)], resources=(), reason="the driver does not answer", fault=True))
    async with opened(browser, page_node.url) as page:
        await expect(page.locator("#verdict")).to_have_text("1 problem, not ready")
        await expect(page.locator("#devices-title ~ p").first).to_have_text("No plugin has devices on this node.")
        page_node.says(plugin([device(0)]), kubelet=False)
        await expect(page.locator("#problems")).to_contain_text("there is no kubelet at /plugins")


async def test_the_skip_link(browser: Browser, page_node: PageNode) -> None:
    """The first Tab offers to skip to the devices; doing so keeps the filters, and the focus is visible."""
    async with opened(browser, f"{page_node.url}#q=stub") as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the devices")).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        assert page.url.endswith("#q=stub")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(outline) == "solid"


async def test_an_update_takes_nothing_from_the_reader(browser: Browser, page_node: PageNode) -> None:
    """Focus, open parts and selected text stay while the page changes; the count is read out only on a change."""
    before = [device(0), device(1), bad(2, "XID 79")]
    page_node.says(plugin(before))
    async with opened(browser, page_node.url) as page:
        await page.evaluate(
            "window.said = []; new MutationObserver(() => said.push(verdict.textContent))"
            ".observe(verdict, {childList: true, characterData: true, subtree: true})"
        )
        line = page.locator("summary", has_text="stub-1")
        await line.press("Enter")
        await expect(page.locator(".device .facts")).to_be_visible()
        await page.evaluate("getSelection().selectAllChildren(document.querySelectorAll('.device b')[1])")
        page_node.says(plugin([device(0, holder=HOLDER), device(1, holder=HOLDER), *before[2:]]))
        await expect(page.locator(".device", has=line)).to_contain_text(HOLDER)
        assert await page.evaluate("said") == []
        page_node.says(plugin([before[0], bad(1, "gone dark"), before[2]]))
        await expect(page.locator(".device").first).to_contain_text("gone dark")
        assert await page.evaluate("said") == ["2 problems"]
        await expect(page.locator(".device").first.locator("summary")).to_be_focused()
        await expect(line).to_be_focused()
        await expect(page.locator(".device", has=line).locator(".facts")).to_be_visible()
        assert await page.evaluate("getSelection().toString()") == "stub-0"


async def test_the_hub_is_gone(browser: Browser, page_node: PageNode) -> None:
    """The page turns grey, shows its age, tries less and less often, and recovers on its own."""
    async with opened(browser, page_node.url) as page:
        update = await page.locator("#updated time").get_attribute("datetime")
        await expect(page.locator("#updated time")).not_to_have_attribute("datetime", str(update))
        await page.evaluate(PAUSES)
        await page.context.set_offline(True)
        gone = page.locator("#gone")
        await expect(gone).to_contain_text("The hub has not answered since")
        last = await page.locator("#updated time").get_attribute("datetime")
        assert [await each.get_attribute("datetime") for each in await gone.locator("time").all()][1] == last
        await expect(page).to_have_title("No response - node-a - Device Plugin Hub")
        await expect(page.locator(".device")).to_have_count(7)
        assert await _colors(page) == set()
        # The page can still be searched, and asked to try at once.
        await page.get_by_role("searchbox").fill("stub-3")
        await expect(page.locator(".device .name")).to_have_text(["stub-3"])
        # The page may have tried on its own in the meantime.
        while len(pauses := await page.evaluate("pauses")) < 6:
            # The longest pause is followed by one of the same length, which is recognized as new only after a second.
            await _holds(page, "left < 30")
            await page.get_by_role("button", name="Try now").click()
            await _holds(page, f"pauses.length > {len(pauses)}")
        assert pauses[:6] == [2, 4, 8, 16, 30, 30]
        await page.context.set_offline(False)
        await expect(page).to_have_title("2 problems - node-a - Device Plugin Hub")
        await expect(gone.get_by_role("status")).to_be_empty()
        assert await _colors(page) != set()


async def test_links_for_programs(browser: Browser, page_node: PageNode) -> None:
    """Status and metrics are one click away."""
    async with opened(browser, page_node.url) as page:
        for name, words in (("Status (JSON)", '"schema"'), ("Metrics", "dphub_ready")):
            answer = await page.request.get(await page.get_by_role("link", name=name).evaluate("link => link.href"))
            assert words in await answer.text()


@pytest.mark.parametrize("host", ["127.0.0.1", ELSEWHERE])
async def test_ids_and_commands_are_copied(browser: Browser, page_node: PageNode, host: str) -> None:
    """A click copies the command of a problem or an id, even on a host where browsers forbid the clipboard."""
    async with opened(browser, page_node.url.replace("127.0.0.1", host)) as page:
        assert await page.evaluate("isSecureContext") == (host == "127.0.0.1")
        search = page.get_by_role("searchbox")
        await page.locator(".problems").get_by_role("button", name="Copy dphub uncordon stub-2").click()
        await expect(page.locator("#announcer")).to_have_text("Copied dphub uncordon stub-2")
        await search.press("ControlOrMeta+V")
        await expect(search).to_have_value("dphub uncordon stub-2")
        await search.fill("sn-0815")
        await page.locator(".device summary").press("Enter")
        await page.get_by_role("button", name="Copy 0000:00:00.0").press("Enter")
        await search.fill("")
        await search.press("ControlOrMeta+V")
        await expect(search).to_have_value("0000:00:00.0")


async def test_external_text_is_not_markup(browser: Browser, page_node: PageNode) -> None:
    """A reason that contains markup is shown unchanged, and runs nothing."""
    async with opened(browser, page_node.url) as page:
        await expect(page.locator(".device.unhealthy .reason")).to_have_text("<img src=x onerror=alert(1)>")
        await expect(page.locator("img")).to_have_count(0)


async def test_text_cannot_imitate_other_text(browser: Browser, page_node: PageNode) -> None:
    """Characters that reverse the writing direction, and control characters, are replaced."""
    page_node.says(plugin([bad(0, reason="fan\u202eduol si\u2066 \x9b31m\x1b[2J\nend")]))
    async with opened(browser, page_node.url) as page:
        await expect(page.locator(".device.unhealthy .reason")).to_have_text(
            "fan\ufffdduol si\ufffd \ufffd31m\ufffd[2J end"
        )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 500, 1400])
async def test_it_fits_and_can_be_read(browser: Browser, page_node: PageNode, width: int, dark: bool) -> None:  # noqa: FBT001 - of the test's cases
    """Nothing needs sideways scrolling, and all text has the contrast of WCAG AA, whether the hub answers or not."""
    async with opened(browser, page_node.url, width, dark=dark) as page:
        for view in ("List", "Topology"):
            await page.get_by_role("button", name=view).click()
            for line in await page.locator("summary").all():
                if await line.evaluate("line => !line.parentElement.open"):
                    await line.click()
            await expect(page.locator(".device .facts")).to_have_count(7)
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await page.evaluate(CONTRAST) == []
        await page.context.set_offline(True)
        await expect(page.locator("body")).to_have_class("is-gone")
        assert await page.evaluate(CONTRAST) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def _holds(page: Page, condition: str) -> None:
    """Wait until a condition in the page holds. `wait_for_function` would need what the page's policy forbids."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await page.evaluate(condition):
            await page.wait_for_timeout(50)


async def _colors(page: Page) -> set[str]:
    """Return the colors of text and borders that are more than a shade of grey."""
    found = await page.evaluate(
        "[...document.querySelectorAll('body, body *')].filter((each) => each.checkVisibility()).flatMap((each) => {"
        "const style = getComputedStyle(each); return [style.color, style.borderLeftColor, style.backgroundColor]; })"
    )
    rgb = {text: [int(each) for each in re.findall(r"\d+", text)[:3]] for text in set(found)}
    return {text for text, parts in rgb.items() if max(parts) - min(parts) > 24}
