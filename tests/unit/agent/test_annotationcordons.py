"""Cordons by the node's annotation, tested in this process."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from hub.agent.annotationcordons import WANTED, Cordons
from hub.base.changecount import ChangeCounter
from hub.base.paths import RunDir
from tests.unit.agent.test_conditions import BROKEN, CORDONED, SOUND, plugin, status


async def test_a_plugin_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    """It is called once, not once per device, since a call may take the whole time limit; it is called again later."""
    connections = []

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    run_dir = RunDir(tmp_path)
    view: Any = SimpleNamespace(status=status(plugin(BROKEN, CORDONED, SOUND)))
    names = ",".join(device.id for device in (BROKEN, CORDONED, SOUND))
    node: Any = SimpleNamespace(annotations={WANTED: names})
    client: Any = None
    cordons = Cordons(client, node, view, ChangeCounter(), run_dir=run_dir, events=None)
    async with await asyncio.start_unix_server(close, run_dir.admin_socket("gpu")):
        assert await cordons.update()
    assert len(connections) == 1


async def test_many_names_without_a_device_are_one_event(tmp_path: Path) -> None:
    """They do not push the events about devices out of the queue, nor fill the log."""
    added: list[Any] = []
    view: Any = SimpleNamespace(status=status(plugin(SOUND)))
    node: Any = SimpleNamespace(annotations={WANTED: ",".join(f"none-{n}" for n in range(900))})
    client: Any = None
    events: Any = SimpleNamespace(add=added.append)
    cordons = Cordons(client, node, view, ChangeCounter(), run_dir=RunDir(tmp_path), events=events)
    with capture_logs() as logs:
        await cordons.update()
        await cordons.update()
    (event,) = added
    assert event.about == "none-0, none-1, none-2, none-3 and 896 more"
    assert (event.note.count("there is no device"), event.note[-13:]) == (4, " and 896 more")
    assert len(logs) == 20
