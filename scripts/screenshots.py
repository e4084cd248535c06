"""Make the pictures of the README from a simulated node: `python -m scripts.screenshots`.

With `--all DIRECTORY` page and terminal wide and narrow, light and dark, to be looked at.
"""

import argparse
import asyncio
import io
import re
import sys
from pathlib import Path

from playwright.async_api import Browser, async_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme

from hub.cli.listing import device_table
from hub.cli.screen import node_screen
from hub.status.model import NodeStatus

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "operate")]

WIDE, NARROW = (1400, 900), (390, 800)
WIDE_COLUMNS, NARROW_COLUMNS = 118, 60


async def main() -> None:
    """Break a few things on a node with eight GPUs and eight HCAs, and look at it."""
    from operated import GPU, HCA, STUB, operated  # noqa: PLC0415 - found on the path that was just extended

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIRECTORY")
    everything = parser.parse_args().all
    async with operated() as node:
        await node.kubelet.admit("trainer-0", {GPU: 4, HCA: 4})
        await node.kubelet.admit("notebook", {GPU: 1})
        await node.kubelet.admit("probe", {STUB: 1})
        node.gpus.xid(6, 79)
        node.hcas.set_port("mlx5_7", "DOWN")
        await node.dphub("cordon", "stub-3", "--reason", "the fan is loud")
        status = await node.status_until(lambda status: len(status.problems) == 3, "three problems")  # noqa: PLR2004
        _terminal(node_screen(status), IMAGES / "status.svg")
        async with async_playwright() as player:
            browser = await _browser(player)
            page = f"http://{status.hub.http}/"
            await _shoot(browser, page, IMAGES / "page.png", WIDE, dark=False)
            if everything:
                for name, size in (("wide", WIDE), ("narrow", NARROW)):
                    for dark in (False, True):
                        target = everything / f"{name}-{'dark' if dark else 'light'}.png"
                        await _shoot(browser, page, target, size, dark=dark)
                await _shoot_terminals(browser, status, everything)


async def _shoot_terminals(browser: Browser, status: NodeStatus, directory: Path) -> None:
    for command, screen in (("status", node_screen(status)), ("devices", device_table(status, None))):
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
    # Without the fonts that rich would have a reader fetch from elsewhere.
    form = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(target), title="dphub", code_format=form, theme=theme)


async def _browser(player: object) -> Browser:
    from browser import CHROMIUM, FLAGS  # noqa: PLC0415 - likewise

    browser: Browser = await player.chromium.launch(executable_path=CHROMIUM, args=FLAGS)  # type: ignore[attr-defined]
    return browser


async def _shoot(browser: Browser, url: str, target: Path, size: tuple[int, int], *, dark: bool) -> None:
    width, height = size
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = await context.new_page()
    if url.startswith("http"):
        await page.goto(url)
        await page.wait_for_selector(".device")
    else:
        await page.set_content(Path(url).read_text())  # noqa: ASYNC240 - nothing else waits
    await page.screenshot(path=target, full_page=True)
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
