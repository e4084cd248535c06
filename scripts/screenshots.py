"""Take the screenshots for the README from a simulated node: `python -m scripts.screenshots`.

With `--all DIRECTORY`, also capture the page and the terminal at many widths and in many states,
light and dark, for inspection.
"""

import argparse
import asyncio
import io
import re
import tempfile
from pathlib import Path

from playwright.async_api import Browser
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme

from hub.cli.render.devices import device_screen
from hub.cli.render.node import node_screen
from hub.model.node import NodeStatus
from tests.harness.operated import GPU, HCA, STUB, operated
from tests.integration.page.browser import chromium

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"

WIDE, README = (1400, 900), (1360, 1200)
WIDE_COLUMNS, NARROW_COLUMNS = 118, 60


async def main() -> None:
    """Cause a few faults on a node with eight GPUs and eight HCAs, and take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIRECTORY")
    everything = parser.parse_args().all
    async with operated() as node, chromium() as browser:
        await node.kubelet.admit("trainer-0", {GPU: 4, HCA: 4})
        await node.kubelet.admit("notebook", {GPU: 1})
        await node.kubelet.admit("probe", {STUB: 1})
        node.gpus.xid(6, 79)
        node.hcas.set_port("mlx5_7", "DOWN")
        await node.dphub("cordon", "stub-3", "--reason", "the fan is loud")
        status = await node.status_until(lambda status: len(status.problems) == 3, "three problems")  # noqa: PLR2004
        _terminal(node_screen(status), IMAGES / "status.svg")
        page = f"http://{status.hub.report.http}/"
        await _shoot(browser, page, IMAGES / "page.png", README, dark=False, whole=False)
        if everything:
            everything.mkdir(exist_ok=True)
            await _shoot_pages(browser, page, everything)
            await _shoot_terminals(browser, status, everything)


async def _shoot_pages(browser: Browser, page: str, directory: Path) -> None:
    """Capture the page in all widths, views and states, for this node and for one with a thousand devices."""
    from tests.integration.page.page_node import PageNode, large_node  # noqa: PLC0415 - only `--all` needs it

    for name, size in (("wide", WIDE), ("500", (500, 900)), ("320", (320, 900))):
        for dark in (False, True):
            scheme = "dark" if dark else "light"
            await _shoot(browser, page, directory / f"page-{name}-{scheme}.png", size, dark=dark)
            target = directory / f"page-{name}-{scheme}-gone.png"
            await _shoot(browser, page, target, size, dark=dark, gone=True)
        await _shoot(browser, f"{page}#view=topology", directory / f"page-{name}-topology.png", size, dark=False)
        await _shoot(browser, page, directory / f"page-{name}-open.png", size, dark=False, opened=True)
    with tempfile.TemporaryDirectory() as scratch:
        large = PageNode(Path(scratch))
        large.says(large_node(1000))
        async with large.serving():
            await _shoot(browser, large.url, directory / "page-1000-devices.png", WIDE, dark=False)


async def _shoot_terminals(browser: Browser, status: NodeStatus, directory: Path) -> None:
    for command, screen in (("status", node_screen(status)), ("devices", device_screen(status, None))):
        for size, width in (("wide", WIDE_COLUMNS), ("narrow", NARROW_COLUMNS)):
            for theme, colors in (("dark", SVG_EXPORT_THEME), ("light", DEFAULT_TERMINAL_THEME)):
                svg = directory / f"{command}-{size}-{theme}.svg"
                _terminal(screen, svg, width, colors)
                await _shoot(browser, str(svg), svg.with_suffix(".png"), WIDE, dark=False)


def _terminal(
    screen: RenderableType, target: Path, width: int = WIDE_COLUMNS, theme: TerminalTheme = SVG_EXPORT_THEME
) -> None:
    console = Console(width=width, record=True, file=io.StringIO(), force_terminal=True, highlight=False)
    console.print(screen)
    target.parent.mkdir(exist_ok=True)
    # Without the fonts that rich would make a reader's browser download.
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(target), title="dphub", code_format=form, theme=theme)


async def _shoot(
    browser: Browser,
    url: str,
    target: Path,
    size: tuple[int, int],
    *,
    dark: bool,
    gone: bool = False,
    opened: bool = False,
    whole: bool = True,
) -> None:
    width, height = size
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = await context.new_page()
    if url.startswith("http"):
        await page.goto(url)
        await page.wait_for_selector(".device")
    else:
        await page.set_content(Path(url).read_text())  # noqa: ASYNC240 - no other task is waiting
    if opened:
        for line in ("#plugins summary", ".device summary"):
            await page.locator(line).first.click()
        await page.wait_for_selector(".device .facts")
    if gone:
        await context.set_offline(True)
        await page.wait_for_selector(".is-gone")
    await page.screenshot(path=target, full_page=whole)
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
