"""The state files of a run directory as something to wait for."""

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
    """The first that is found, looked for whenever a file in the directory is replaced.

    Returns:
        What was found; None when there was nothing within the limit, in seconds.
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


async def wait_for_state(
    run_dir: RunDir, plugin: str, holds: Callable[[PluginReport], bool], limit: float
) -> PluginReport:
    """The plugin's first state that holds, looked at whenever a state file is replaced.

    Raises:
        TimeoutError: there was none within the limit, in seconds; the text has the last state.
    """

    def find() -> PluginReport | None:
        state = read_report(run_dir.report(plugin))
        return state if state is not None and holds(state) else None

    found = await wait_for(run_dir.path, find, limit)
    if found is None:
        state = read_report(run_dir.report(plugin))
        raise TimeoutError(f"plugin {plugin} is not where it should be after {limit:g} s; its state: {state}")
    return found
