"""The plugins' state files as something to wait for."""

import asyncio
from collections.abc import Callable

from asyncinotify import Inotify, Mask

from hub.paths import RunDir
from hub.state import PluginState, read_state


async def wait_for_state(
    run_dir: RunDir, plugin: str, holds: Callable[[PluginState], bool], limit: float
) -> PluginState:
    """The plugin's first state that holds, looked at whenever a state file is replaced.

    Raises:
        TimeoutError: there was none within the limit, in seconds; the text has the last state.
    """
    state = None
    try:
        with Inotify() as inotify:
            inotify.add_watch(run_dir.path, Mask.MOVED_TO)
            async with asyncio.timeout(limit):
                while True:
                    state = read_state(run_dir.state(plugin))
                    if state is not None and holds(state):
                        return state
                    await inotify.get()
    except TimeoutError:
        raise TimeoutError(f"plugin {plugin} is not where it should be after {limit:g} s; its state: {state}") from None
