"""Waits for changes to the files in a run directory."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from asyncinotify import Inotify, Mask

from hub.base.paths import RunDir
from hub.model.plugin import PluginReport
from hub.status.reader import read_report

T = TypeVar("T")


async def wait_for(directory: Path, find: Callable[[], T | None], limit: float) -> T | None:
    """Call a function whenever a file in the directory is replaced, until it returns something.

    Returns:
        What it returned; None if the limit, in seconds, expired.
    """
    with Inotify() as inotify:
        inotify.add_watch(directory, Mask.MOVED_TO)
        try:
            async with asyncio.timeout(limit):
                while (found := find()) is None:
                    await inotify.get()
        except TimeoutError:
            return None
        return found


async def wait_for_report(
    run_dir: RunDir, plugin: str, holds: Callable[[PluginReport], bool], limit: float
) -> PluginReport:
    """Wait for a report of the plugin for which a condition holds.

    Raises:
        TimeoutError: there was none within the limit, in seconds; the text includes the last report.
    """

    def find() -> PluginReport | None:
        report = read_report(run_dir.report(plugin))
        return report if report is not None and holds(report) else None

    found = await wait_for(run_dir.path, find, limit)
    if found is None:
        last = read_report(run_dir.report(plugin))
        raise TimeoutError(f"plugin {plugin} has not reached the expected state after {limit:g} s; its report: {last}")
    return found
