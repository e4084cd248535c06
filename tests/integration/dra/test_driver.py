"""A plugin serves dynamic resource allocation: real processes, with an API server and a kubelet's calls."""

import json
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from hub.model.heartbeat import HeartbeatReport
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.files import remove_tree
from tests.integration.dra.dranode import DRIVER, DraNode


@pytest.fixture
async def node() -> AsyncIterator[DraNode]:
    """Create a node with an API server and the component."""
    directory = Path(tempfile.mkdtemp(prefix="dra", dir="/tmp"))
    node = DraNode(directory)
    async with node.api:
        node.start_component()
        yield node
        node.kill_plugins()
        node.stop_component()
    remove_tree(directory)


async def test_a_pod_gets_a_device_and_gives_it_back(node: DraNode) -> None:
    """End to end: registration, slices, a claim, its CDI file, the report, and the release."""
    plugin = node.start_driver()
    async with node.registered() as kubelet:
        assert kubelet.info.type == "DRAPlugin"
        assert kubelet.info.name == DRIVER
        assert list(kubelet.info.supported_versions) == [
            *("v1.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth")
        ]
        await wait_until(lambda: node.api.store.devices, "the slices")
        first, second, *_ = node.api.store.devices
        await plugin.registered()
        node.api.store.allocate("u1", first)
        node.api.store.allocate("u2", second)

        assert await kubelet.prepare("u1") == {"u1": [f"{DRIVER}/claim=u1-main"]}
        assert await kubelet.prepare_by_v1beta1("u2") == [second]
        kinds = {json.loads(path.read_text())["kind"] for path in node.cdi_files}
        assert kinds == {f"{DRIVER}/claim"}
        await wait_until(lambda: "team/pod-u1/claim:claim-u1" in holders(plugin), "the holder in the report")

        assert await kubelet.unprepare("u1", "unknown") == {"u1": "", "unknown": ""}
        assert len(node.cdi_files) == 1
        await wait_until(lambda: "team/pod-u1/claim:claim-u1" not in holders(plugin), "no holder")


def holders(plugin: PluginProcess) -> list[str]:
    """Return the holders of devices in the report."""
    report = plugin.resource()
    return [device.holder for device in report.devices] if report else []


async def test_each_claim_of_a_pod_has_its_own_answer(node: DraNode) -> None:
    """A claim that cannot be prepared does not affect the others."""
    node.start_driver()
    async with node.registered() as kubelet:
        await wait_until(lambda: node.api.store.devices, "the slices")
        node.api.store.allocate("u1", node.api.store.devices[0])

        answers = await kubelet.prepare("u1", "missing")

        assert answers["u1"] == [f"{DRIVER}/claim=u1-main"]
        assert "claim team/claim-missing: the claim cannot be read from the API server: 404" in answers["missing"]


async def test_any_number_of_claims_is_released(node: DraNode) -> None:
    """The kubelet releases all claims of a pod in one call; if it failed, the pod would stay forever."""
    node.start_driver()
    uids = [f"uid-{number}" for number in range(300)]
    async with node.registered() as kubelet:
        assert await kubelet.unprepare(*uids) == dict.fromkeys(uids, "")


async def test_metrics_count_the_claims(node: DraNode) -> None:
    """Metrics have the claims that hold devices, by state, and those that were rejected."""
    plugin = node.start_driver(watchdog=3)
    async with node.registered() as kubelet:
        await wait_until(lambda: node.api.store.devices, "the slices")
        node.api.store.allocate("u1", node.api.store.devices[0])

        await kubelet.prepare("u1", "missing")

        await wait_until(lambda: _claims(plugin) == ({"prepared": 1}, [1]), "the claims in the metrics")


def _claims(plugin: PluginProcess) -> tuple[dict[str, object], list[object]]:
    """Return the claims that hold devices, by state, and how many were rejected."""
    path = plugin.run_dir.heartbeat(plugin.name)
    report = msgspec.json.decode(path.read_bytes(), type=HeartbeatReport) if path.exists() else None
    samples = {each.name: each.samples for each in report.metrics} if report else {}
    held = {each.labels["state"]: each.value for each in samples.get("dphub_claims", []) if each.value}
    return held, [each.value for each in samples.get("dphub_claims_rejected_total", [])]


async def test_a_device_that_fails_is_tainted_and_its_pod_shows_why(node: DraNode) -> None:
    """The taint is removed when the reason is gone."""
    node.start_driver()
    async with node.registered() as kubelet, aclosing(kubelet.health()) as stream:
        first = await anext(stream)
        await wait_until(lambda: node.api.store.devices, "the slices")
        (name,) = (each for each in first if each.startswith("stub-0"))
        assert first[name] == "healthy"

        node.faults("unhealthy: {stub-0: too hot}")
        async for health in stream:
            if health[name] == "too hot":
                break
        taint = (f"{DRIVER}/unhealthy", "plugin")
        await wait_until(lambda: node.api.store.taints() == {name: [taint]}, "the taint")

        node.faults("")
        await wait_until(lambda: not node.api.store.taints(), "no taint", timeout=60)


def _created(socket: Path) -> int:
    """Return when a socket was created, in nanoseconds; 0 while there is none."""
    try:
        return socket.stat().st_ctime_ns
    except FileNotFoundError:
        return 0


async def test_a_killed_plugin_finds_its_claims_again(node: DraNode) -> None:
    """The next process repeats the recorded response, refuses a second claim for the device, and writes no slice."""
    node.start_driver()
    async with node.registered() as kubelet:
        await wait_until(lambda: node.api.store.devices, "the slices")
        device = node.api.store.devices[0]
        node.api.store.allocate("u1", device)
        node.api.store.allocate("u2", device)
        await kubelet.prepare("u1")
    writes = len(node.api.store.writes)
    node.kill_plugins()
    (node.cdi_files[0]).unlink()
    (old,) = node.registration_sockets
    created = _created(old)

    plugin = node.start_driver()
    await wait_until(lambda: _created(old) not in {0, created}, "a new socket")
    async with node.registered() as kubelet:
        assert len(node.cdi_files) == 1
        assert "is held by claim team/claim-u1" in (await kubelet.prepare("u2"))["u2"]
        assert await kubelet.prepare("u1") == {"u1": [f"{DRIVER}/claim=u1-main"]}
        await plugin.logged("devices published")
        assert len(node.api.store.writes) == writes


async def test_slices_are_restored_after_a_kubelet_has_deleted_them(node: DraNode) -> None:
    """A registered driver restores them: a kubelet deletes slices when it starts, perhaps after the registration."""
    node.start_driver()
    async with node.registered():
        await wait_until(lambda: node.api.store.slices, "the slices")
        (name,) = node.api.store.slices
        node.api.store.remove(name)
        await wait_until(lambda: name in node.api.store.slices, "the slice again")


async def test_a_component_that_was_killed_does_not_matter_for_long(node: DraNode) -> None:
    """While it is gone, prepared claims can be released; the plugin reconnects on its own when it is back."""
    plugin = node.start_driver()
    async with node.registered() as kubelet:
        await wait_until(lambda: node.api.store.devices, "the slices")
        first, second, *_ = node.api.store.devices
        node.api.store.allocate("u1", first)
        node.api.store.allocate("u2", second)
        await kubelet.prepare("u1")

        node.stop_component()
        assert "the DRA process" in (await kubelet.prepare("u2"))["u2"]
        assert await kubelet.unprepare("u1") == {"u1": ""}

        node.start_component()
        await wait_until(lambda: len(plugin.lines("devices published")) > 1, "published again")
        assert await kubelet.prepare("u2") == {"u2": [f"{DRIVER}/claim=u2-main"]}


async def test_a_plugin_that_stops_unregisters_and_keeps_its_slices_and_claims(node: DraNode) -> None:
    """An update of the hub must not delete what pods use; no socket is left that no process serves."""
    plugin = node.start_driver()
    async with node.registered() as kubelet:
        await wait_until(lambda: node.api.store.devices, "the slices")
        node.api.store.allocate("u1", node.api.store.devices[0])
        await kubelet.prepare("u1")
    plugin.signal(signal.SIGTERM)
    assert await plugin.exited() == 0

    assert node.registration_sockets == []
    assert node.api.store.slices
    assert len(node.cdi_files) == 1


async def test_resets_happen_before_the_pod_gets_its_device(node: DraNode) -> None:
    """A reset that fails keeps the pod from starting, with the reason."""
    node.faults("reset: {'*': {do: fail, text: no power}}")
    node.start_driver(config="reset: true")
    async with node.registered() as kubelet:
        await wait_until(lambda: node.api.store.devices, "the slices")
        node.api.store.allocate("u1", node.api.store.devices[0])

        assert "no power" in (await kubelet.prepare("u1"))["u1"]

        node.faults("")
        assert await kubelet.prepare("u1") == {"u1": [f"{DRIVER}/claim=u1-main"]}


async def test_a_plugin_without_dra_loads_nothing_of_it(node: DraNode) -> None:
    """A plugin that does not use DRA needs no memory for it."""
    plugin = node.start_plugin(env={"PYTHONVERBOSE": "1"})
    await plugin.resource_until(lambda report: report.name == STUB)

    assert "hub.plugin.deviceplugin.api" in plugin.log
    for module in ("hub.plugin.dra", "hub.dra", "hub.kubelet.wire.dra", "pluginregistration", "hub.apiserver"):
        assert module not in plugin.log


@pytest.mark.fake_kubelet("a real one accepts the driver, too, and then deletes its slices")
async def test_an_administrator_chooses_the_api_and_a_reload_changes_it(node: DraNode) -> None:
    """It takes one line in circus.ini: the plugin is restarted, and serves the other API with the same devices."""
    node.stop_component()
    config = node.directory / "circus.ini"
    component = f"[watcher:dra]\ncmd = python -m hub.dra --account {node.api.account_dir}\n"
    stub = "[watcher:stub]\ncmd = python -m hub.plugin plugins.stub:Stub\n"
    host = f"[env:stub]\nDPHUB_HOST_ROOT = {node.host}\n"
    config.write_text(f"{stub}api = dra\n{component}{host}")
    node.use(config)
    await node.start_hub()
    try:
        async with node.registered() as kubelet:
            assert kubelet.info.name == "stub.dphub.dev"
            await wait_until(lambda: node.api.store.devices, "the slices")
            node.api.store.allocate("u1", node.api.store.devices[0])
            assert await kubelet.prepare("u1") == {"u1": [f"{DRIVER}/claim=u1-main"]}
            devices = await node.dphub("devices", "stub-0")
            assert "team/pod-u1/claim:claim-u1" in devices.out
            assert await kubelet.unprepare("u1") == {"u1": ""}

        config.write_text(f"{stub}{component}{host}")
        async with FakeKubelet(node.plugin_dir) as device_manager:
            assert (await node.dphub("reload")).code == 0
            await device_manager.wait_for(STUB)
            assert node.registration_sockets == []
    finally:
        await node.stop_hub()
