"""What commands print if something is wrong with the node, its files or the terminal."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from itertools import product

import pytest

from hub.base.errors import HubError
from hub.base.instances import running_hubs
from hub.base.paths import RunDir
from hub.base.sockets import is_served
from hub.cli.target import TargetHub
from hub.model.heartbeat import UNRESPONSIVE_AFTER
from hub.supervisor.circus.client import CircusClient
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.operated import CONFIG, GPU, HCA, SHORT_WATCHDOG, STUB, OperatedNode, operated
from tests.harness.processes import started

OTHERS = """
[watcher:odd]
cmd = sleep 1000
[watcher:twin]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/twin.yaml
"""
TWIN = {"twin.yaml": "resources: [{name: twin.com/stub, devices: 2}]"}


def _shell(node: OperatedNode, command: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell; return its output and exit code."""
    environment = {**os.environ, "DPHUB_RUN_DIR": str(node.run_dir.path), "DPHUB": f"{sys.executable} -m hub"}
    return subprocess.run(
        ["bash", "-c", command], env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def _unread(node: OperatedNode, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output connected to a pipe that nothing reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return _shell(node, command, writer)
    finally:
        os.close(writer)


async def test_no_traceback(node: OperatedNode) -> None:
    """A full disk, a file as run directory, or a terminal with few characters causes one line of output, or none."""
    file = node.directory / "circus.ini"
    full = "dphub: reading or writing failed: No space left on device\n"
    no_directory = f"{file}: not a directory, expected the hub's run directory\n"
    for command, code, words in (
        ("$DPHUB status >/dev/full", 1, full),
        ("$DPHUB status --json >/dev/full", 1, full),
        ("$DPHUB logs >/dev/full", 1, full),
        (f"$DPHUB check {file} >/dev/full", 1, full),
        (f"$DPHUB status --run-dir {file}", 2, f"dphub: {no_directory}"),
        (f"$DPHUB run --run-dir {file} --plugin-dir {node.directory}", 2, f"dphub run: {no_directory}"),
        ("$DPHUB logs nope", 2, "dphub: there is no plugin nope; the plugins are gpu, ib, stub\n"),
    ):
        done = await asyncio.to_thread(_shell, node, command)
        assert (done.returncode, done.stderr) == (code, words), command
    done = await asyncio.to_thread(_unread, node, "exec $DPHUB logs -n 0")
    assert (done.returncode, done.stderr) == (1, "")
    await node.dphub("cordon", "stub-1")
    done = await asyncio.to_thread(_shell, node, "PYTHONIOENCODING=ascii $DPHUB status")
    assert (done.returncode, done.stderr, "No problems found." in done.stdout) == (0, "", True), done
    assert "\n----" in done.stdout


async def test_no_line_ends_in_spaces(node: OperatedNode) -> None:
    """No line of the output ends in spaces, not even where a value takes several lines."""
    await node.dphub("cordon", "stub-1", "--reason", "the fan is loud and we do not know why it is so loud")
    for command, width in product(("status", "devices"), (50, 55, 60)):
        said = await node.dphub(command, width=width)
        assert [line for line in said.out.splitlines() if line != line.rstrip()] == []


async def test_a_hub_that_freezes_while_a_command_waits(node: OperatedNode) -> None:
    """The command stops waiting when the hub counts as dead, and says what to do."""
    assert node.hub
    hub = TargetHub(node.run_dir.path)
    node.hub.send_signal(signal.SIGSTOP)
    try:
        waiting = asyncio.create_task(asyncio.to_thread(CircusClient(hub.run_dir, hub.live_status).restart, "stub"))
        long_ago = time.monotonic_ns() - int((UNRESPONSIVE_AFTER + 1) * 1e9)
        os.utime(node.run_dir.hub_heartbeat, ns=(long_ago, long_ago))
        with pytest.raises(HubError, match=rf"process {node.hub.pid}\) does not respond; kill that process"):
            await waiting
    finally:
        node.hub.send_signal(signal.SIGCONT)


async def test_a_second_cordon(node: OperatedNode) -> None:
    """Without a reason, it keeps that of the first cordon; with one, it replaces it; both print the earlier reason."""
    await node.dphub("cordon", "stub-1", "--reason", "the fan is loud")
    for words, reason, was in (
        ([], "the fan is loud", "the fan is loud"),
        (["--reason", "it smokes"], "it smokes", "the fan is loud"),
    ):
        said = await node.dphub("cordon", "stub-1", *words)
        assert (said.code, f"; it was already cordoned: {was}" in said.out) == (0, True), said
        stub = node.plugin("stub")
        assert stub
        assert stub.report.cordons == {f"{STUB} stub-1": f"cordoned: {reason}"}


async def test_every_new_log_level_is_logged(node: OperatedNode) -> None:
    """The line about the change is logged even at a new level that hides such lines."""
    levels = ["warning", "error", "debug", "info"]
    for level in levels:
        await node.dphub("log-level", "stub", level)
    lines = [json.loads(line) for line in node.run_dir.log("stub").read_text().splitlines()]
    logged = [(line["to"], line["level"]) for line in lines if line["event"] == "log level set"]
    assert logged == [(level, "info") for level in levels]


async def test_a_reset_does_not_hide_what_is_left(node: OperatedNode) -> None:
    """A cordoned device is reset, and remains unavailable until it is uncordoned."""
    await node.dphub("cordon", "stub-1", "--reason", "the fan is loud")
    said = await node.dphub("reset", "stub-1")
    remedy = f"dphub uncordon '{STUB} stub-1'"
    assert (said.code, f"; still unhealthy: cordoned: the fan is loud → {remedy}\n" in said.out) == (0, True), said
    assert (await node.dphub("uncordon", f"{STUB} stub-1")).code == 0


async def test_a_device_by_its_resource(node: OperatedNode) -> None:
    """Every device has the name "RESOURCE ID", in addition to its other names."""
    for resource, name in ((GPU, node.gpus.gpus[0].uuid), (HCA, node.hcas.pci("mlx5_0")), (STUB, "stub-0")):
        said = await node.dphub("cordon", f"{resource} {name}")
        assert said.code == 0, said


async def test_plugins_that_do_not_answer() -> None:
    """Stopped plugins, killed plugins and other programs are distinguished, and so are devices with the same name."""
    async with operated(CONFIG + OTHERS, files=TWIN, watchdog=SHORT_WATCHDOG) as node:
        said = await node.dphub("cordon", "stub-1")
        assert (said.code, said.err.endswith("; add --plugin NAME\n")) == (2, True), said
        said = await node.dphub("log-level", "odd", "debug")
        assert (said.code, "odd is not one of the hub's plugin processes" in said.err) == (2, True), said
        stub = node.plugin("stub")
        assert stub
        os.kill(stub.process.pid, signal.SIGSTOP)
        said = await node.dphub("log-level", "stub", "debug")
        words = "stub: the plugin exited before it answered; retry when it is running again\n"
        assert (said.code, said.err) == (2, f"dphub: {words}"), said
        await node.dphub("stop", "stub")
        said = await node.dphub("log-level", "stub", "debug")
        assert (said.code, said.err) == (2, "dphub: stub is stopped → dphub start stub\n"), said


async def test_a_device_that_the_other_hub_serves() -> None:
    """During an upgrade, while the new plugin is not serving yet, the command says which hub to ask."""
    async with operated() as node:
        older = node.run_dir
        config = node.directory / "circus.ini"
        config.write_text(config.read_text().replace("[watcher:stub]", "[watcher:stub]\nautostart = False"))
        await node.start_hub("v2")
        await wait_until(lambda: len(running_hubs(older)) > 1 and node.status(), "the newer hub")
        said = await node.dphub("cordon", "stub-1")
        words = "; hub dphub on this node still serves it: repeat the command with --instance dphub\n"
        assert (said.code, said.err.endswith(words)) == (2, True), said
        said = await node.dphub("cordon", "stub-1", "--instance", "dphub")
        assert said.code == 0, said
        said = await node.dphub("status", "--instance", "nope")
        assert "; the existing hubs are dphub, v2\n" in said.err


async def test_health_without_http(node: OperatedNode) -> None:
    """A hub that does not listen on the network still answers `dphub health`."""
    quiet = RunDir(node.run_dir.path, "quiet")
    flags = (f"--config={node.directory}/circus.ini", f"--plugin-dir={node.plugin_dir}", "--instance=quiet")
    async with node.running("run", "--http=off", *flags):
        await wait_until(lambda: is_served(quiet.http_socket), "the hub")
        said = await node.dphub("health", "--instance=quiet")
        assert (said.code, said.out) == (0, "ok\n"), said


async def test_an_interrupted_follow(node: OperatedNode) -> None:
    """Ctrl-C stops the command without an error message."""
    command = (sys.executable, "-m", "hub", "logs", "-f", "-n", "1", "--run-dir", str(node.run_dir.path))
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    async with started(*command, **pipes) as process:
        assert process.stdout
        await process.stdout.readline()
        node.stub_faults(unhealthy={"stub-2": "pulled out"})
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(WAIT_SECONDS):
            _, err = await process.communicate()
        assert (process.returncode, err) == (0, b"")
