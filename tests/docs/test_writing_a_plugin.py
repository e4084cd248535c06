"""The commands of the tutorial print what the tutorial shows."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient

from hub import Device, Host
from hub.base.exits import Exit
from hub.base.jsonfile import read_file
from hub.base.paths import RunDir
from hub.model.hub import InstanceReport
from hub.testing.kubelet import AdmissionError, ContainerStartError, FakeKubelet
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS, wait_until
from plugins.stub.faults import Faults
from tests.docs import test_writing_a_plugin_rollout
from tests.docs.pages import README, TUTORIAL
from tests.docs.terminal import environment, terminal, typed, typed_in_thread
from tests.docs.tutorial import (
    ADMIT_CALLER,
    ADMIT_DIALLER,
    ADMIT_READER,
    ADMITTED,
    CHECK_HUB,
    CHECK_SETTINGS,
    CHECK_STUB,
    DIALLER,
    FAILING,
    FIRST,
    GROWN,
    HEALTH,
    HUB,
    INVALID,
    KUBELET,
    LOCK,
    MISTAKES,
    NOT_TYPED,
    OPERATE,
    OTHER_BLOCKS,
    PLUGIN,
    PLUGIN_WITH_SETTINGS,
    PYTEST,
    REGISTERED,
    REMOVE_READER,
    RESTART,
    RUN_DIR,
    SCAN,
    SCANNED,
    SERIAL,
    SNIPPETS,
    TYPED,
    UNKNOWN_KEY,
    UNLOCK,
    WRONG,
    Tutorial,
    complete_plugin,
)


def test_it_begins_with_the_plugin_of_the_readme() -> None:
    """A reader who comes from the README continues with the same file."""
    assert README.of("python") == [FIRST]


async def test_it_is_tried_in_two_terminals(tutorial: Tutorial) -> None:
    """The first plugin registers, gives a pod its adapter, and registers again after a restart of the kubelet."""
    tutorial.write(FIRST)
    async with terminal(KUBELET, tutorial.directory) as kubelet:
        # The page's reader takes longer to open a second terminal than a kubelet takes to listen.
        await kubelet.says("kubelet started")
        async with terminal(PLUGIN, tutorial.directory) as plugin:
            await kubelet.says("allocatable=3")
            await plugin.says("registered")
            assert plugin.lines == REGISTERED
            kubelet.type(ADMIT_READER)
            await kubelet.says("default/reader: running")
            assert kubelet.lines[-len(ADMITTED) :] == ADMITTED
            kubelet.type(RESTART)
            await kubelet.says("allocatable=3", times=2)
            kubelet.type(REMOVE_READER)
            await kubelet.says("remove: done")
            kubelet.type("help")
            await kubelet.says("show this list")


def test_the_devices_are_seen_before_any_kubelet(tutorial: Tutorial) -> None:
    """The devices are shown as a table."""
    tutorial.write(FIRST)
    assert typed(SCAN, tutorial.directory).splitlines() == SCANNED


@pytest.mark.parametrize(("command", "said"), [*zip((WRONG, FAILING, INVALID), MISTAKES, strict=True)])
def test_mistakes_of_the_author(tutorial: Tutorial, command: str, said: list[str]) -> None:
    """Mistakes are reported as the page shows, in the reader's directory."""
    tutorial.write(complete_plugin())
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tutorial.directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = f"{done.stdout}{done.stderr}".replace(str(tutorial.directory), "/home/you/serial").splitlines()
    assert (done.returncode, lines) == (Exit.USAGE, said)


async def test_health_and_settings(tutorial: Tutorial) -> None:
    """The settings leave an adapter out; another one is unhealthy while a program on the node is using it."""
    tutorial.write(GROWN)
    async with (
        terminal(KUBELET, tutorial.directory) as kubelet,
        terminal(PLUGIN_WITH_SETTINGS, tutorial.directory) as plugin,
    ):
        await kubelet.says("allocatable=2 capacity=2")
        typed(LOCK, tutorial.directory)
        await kubelet.says("allocatable=1 capacity=2")
        typed(UNLOCK, tutorial.directory)
        await plugin.says("devices recovered")
        assert [line for line in plugin.lines if line in HEALTH] == HEALTH


def test_mistakes_are_found_without_starting_anything(tutorial: Tutorial) -> None:
    """Mistakes in the settings and in circus.ini are reported as the page quotes them."""
    tutorial.write(GROWN)
    typed(CHECK_SETTINGS, tutorial.directory)
    typed(CHECK_HUB, tutorial.directory)
    settings = tutorial.directory / "serial.yaml"
    settings.write_text(settings.read_text().replace("exclude", "exclud"))
    said = subprocess.run(
        ["bash", "-c", CHECK_SETTINGS],
        cwd=tutorial.directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.returncode, said.stderr.splitlines()) == (Exit.USAGE, UNKNOWN_KEY)


async def test_the_whole_plugin_runs_under_the_hub(tutorial: Tutorial) -> None:
    """The administrator's commands work; containers get what `allocate` returns, and their adapters are reset."""
    tutorial.write(complete_plugin())
    here = tutorial.directory
    async with terminal(KUBELET, here) as kubelet, terminal(HUB, here):
        await kubelet.says("allocatable=2 capacity=2")
        for command in OPERATE:
            # The last report that the kubelet receives is that both adapters are healthy.
            await typed_in_thread(command, here, DPHUB_RUN_DIR=RUN_DIR)
        await kubelet.says("allocatable=2 capacity=2", times=2)
        kubelet.type(ADMIT_DIALLER)
        await kubelet.says("default/dialler: running")
        assert kubelet.lines[-len(DIALLER) - 1 : -1] == DIALLER
        kubelet.type(ADMIT_CALLER)
        await kubelet.says("default/caller: running")
        assert [tutorial.port(n).read_bytes() for n in range(3)] == [b"ATZ\r", b"ATZ\r", b""]
        status = await typed_in_thread("dphub status serial", here, DPHUB_RUN_DIR=RUN_DIR)
        assert "last reset: device" in status
        run_dir = RunDir(here / RUN_DIR)
        await wait_until(lambda: _has_metric(run_dir), "the plugin's own metrics in its heartbeat")
        state = read_file(run_dir.hub_report, InstanceReport)
        assert state
        answer = await AsyncHTTPClient().fetch(f"http://{state.hub.http}/metrics")
        assert 'serial_adapters_in_use{plugin="serial"} 0.0' in answer.body.decode()


def _has_metric(run_dir: RunDir) -> bool:
    return b"serial_adapters_in_use" in run_dir.heartbeat("serial").read_bytes()


async def test_a_pulled_out_adapter_keeps_its_container_from_starting(tutorial: Tutorial) -> None:
    """The reset fails with the message from the function on the page."""
    (snippet,) = [text for text in SNIPPETS if text.startswith("    reset = ")]
    tutorial.write(f"{FIRST}\n{snippet}")
    async with FakeKubelet(tutorial.directory / "kubelet/plugins") as kubelet, terminal(PLUGIN, tutorial.directory):
        await kubelet.wait_for(SERIAL, allocatable=3)
        caller = await kubelet.admit("caller", {SERIAL: 1})
        tutorial.port(0).unlink()
        with pytest.raises(ContainerStartError, match="the adapter was pulled out"):
            await kubelet.start_container(caller)


async def test_a_pod_gets_ports_of_one_adapter(tutorial: Tutorial) -> None:
    """`prefer` is called, and keeps a pod's ports on one adapter."""
    for number in range(8):
        tutorial.port(number).touch()
    tutorial.write(complete_plugin())
    async with FakeKubelet(tutorial.directory / "kubelet/plugins") as kubelet, terminal(PLUGIN, tutorial.directory):
        await kubelet.wait_for(SERIAL, allocatable=8)
        for name, count, expected in (("a", 3, {"4", "5", "6"}), ("b", 2, {"0", "1"}), ("c", 2, {"2", "3"})):
            pod = await kubelet.admit(name, {SERIAL: count})
            got = {device[-1] for device in pod.containers["main"].devices[SERIAL]}
            assert len({int(number) // 4 for number in got}) == 1, (got, expected)


def test_locations_come_from_sysfs(tmp_path: Path) -> None:
    """A device gets its PCI address and its NUMA node; it gets no node if sysfs does not have one."""
    names: dict[str, Any] = {}
    (text,) = [text for text in TUTORIAL.of("python") if text.startswith("def place(")]
    exec(compile(text, TUTORIAL.name, "exec"), names)  # noqa: S102 - the point of the test
    function = tmp_path / "sys/devices/pci0000:3a/0000:3b:00.0"
    link = tmp_path / "sys/class/accel/accel0/device"
    function.mkdir(parents=True)
    link.parent.mkdir(parents=True)
    link.symlink_to("../../../devices/pci0000:3a/0000:3b:00.0")
    for said, nodes in (("1\n", [1]), ("-1\n", [])):
        (function / "numa_node").write_text(said)
        place = names["place"](Host(tmp_path), "/sys/class/accel/accel0/device")
        assert place == {"pci": ["0000:3b:00.0"], "numa": nodes}
        assert Device("accel0", **place)


def test_the_tests_of_the_tutorial_pass(tutorial: Tutorial) -> None:
    """All three tests pass, with the pytest that the reader has."""
    tutorial.write(complete_plugin())
    assert "3 passed" in typed(f"{PYTEST} -p no:cacheprovider", tutorial.directory)


@pytest.mark.parametrize("module", [FIRST, GROWN, complete_plugin()], ids=["first", "grown", "whole"])
def test_its_code_passes_the_linter(tutorial: Tutorial, module: str) -> None:
    """The code is formatted, and a linter finds no mistakes in it."""
    tutorial.write(module)
    files = sorted(path.name for path in tutorial.directory.glob("*.py"))
    for check in (["format", "--check"], ["check", "--select=E,F,W,B,I,UP"]):
        typed(f"ruff {' '.join(check)} --isolated --no-cache --line-length=120 {' '.join(files)}", tutorial.directory)


async def test_the_examples_of_the_stub(tutorial: Tutorial) -> None:
    """The stub serves what its settings describe, and its faults take effect when they are written."""
    settings = tutorial.directory / "stub.yaml"
    (text,) = TUTORIAL.versions("stub.yaml")
    settings.write_text(text, encoding="utf-8")
    typed(CHECK_STUB, tutorial.directory)
    config = tutorial.directory / "circus.ini"
    config.write_text(f"[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub --config {settings}\n")
    async with Node(tutorial.directory, config) as node:
        await node.start_hub()
        await node.kubelet.wait_for("example.com/stub", allocatable=8, timeout=WAIT_SECONDS)
        await node.kubelet.wait_for("example.com/another", allocatable=2, timeout=WAIT_SECONDS)
        assert {device.numa for device in node.kubelet.devices("example.com/stub")} == {(0,), (1,)}
        pod = await node.kubelet.admit("reader", {"example.com/another": 1})
        response = pod.containers["main"].response
        (device,) = response.devices
        assert (device.host_path, response.envs["ANOTHER"]) == ("/dev/zero", f"another-{device.container_path[-1]}")
        faults = node.run_dir.path / "stub-faults.yaml"
        unhealthy, allocate, reset = TUTORIAL.of("yaml")[-3:]
        faults.write_text(unhealthy, encoding="utf-8")
        await node.kubelet.wait_for("example.com/stub", allocatable=7)
        faults.write_text(allocate, encoding="utf-8")
        await node.kubelet.wait_for("example.com/stub", allocatable=8)
        with pytest.raises(AdmissionError, match="the firmware is missing"):
            await node.kubelet.admit("another", {"example.com/another": 1})
        # The test does not wait for this fault: a reset that hangs takes the whole 25 seconds.
        assert "reset: true" in text
        faults.write_text(reset, encoding="utf-8")
        assert Faults.read(faults).reset["*"]


def test_every_command_is_known_to_these_tests() -> None:
    """Each command is typed here or has a reason why it is not, including one that is added later."""
    unknown = [
        command for command in TUTORIAL.commands if command not in TYPED and not command.startswith(tuple(NOT_TYPED))
    ]
    assert unknown == []
    assert all(any(command.startswith(known) for command in TUTORIAL.commands) for known in NOT_TYPED)


def test_every_block_is_known_to_these_tests() -> None:
    """Each block is a file, a part of the class, or has a test of its own, including one that is added later."""
    unknown = [
        block.text
        for block in TUTORIAL.blocks
        if block.language not in ("console", "text")
        and not (block.file or block.in_the_class or block.text.startswith(tuple(OTHER_BLOCKS)))
    ]
    assert unknown == []
    assert set(OTHER_BLOCKS.values()) <= globals().keys() | vars(test_writing_a_plugin_rollout).keys()
