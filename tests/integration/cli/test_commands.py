"""What an administrator does with a running node, and what the commands print."""

import json

from hub.testing.waiting import wait_until
from tests.harness.operated import GPU, HCA, STUB, OperatedNode, operated


async def test_restart_stop_and_start(node: OperatedNode) -> None:
    """Each command exits when its outcome is known, and reports it; the other plugins keep their processes."""
    others = [node.plugin(name) for name in ("gpu", "ib")]
    said = await node.dphub("restart", "stub")
    assert (said.code, said.out.startswith("stub: restarted, registered after ")) == (0, True), said
    assert node.kubelet.capacity()[STUB].allocatable == 4
    said = await node.dphub("stop", "stub")
    assert (said.code, said.out.startswith("stub: stopped after ")) == (0, True), said
    await node.kubelet.wait_for(STUB, 0)
    said = await node.dphub("status", "stub")
    assert (said.code, said.out.startswith("No problems found; 1 plugin is stopped.\n")) == (0, True), said
    assert "dphub start stub" in said.out
    assert (await node.get("/readyz")) == (200, "gpu: registered\nib: registered\nstub: stopped\n")
    said = await node.dphub("start", "stub")
    assert (said.code, said.out.startswith("stub: started, registered after ")) == (0, True), said
    said = await node.dphub("start", "stub")
    assert (said.code, said.out.startswith("stub: already running, registered after ")) == (0, True), said
    assert [plugin and plugin.process.pid for plugin in others] == [
        plugin and plugin.process.pid for plugin in (node.plugin("gpu"), node.plugin("ib"))
    ]
    assert await node.metric("dphub_plugin_restarts_total", plugin="stub", reason="requested") == 1


async def test_stop_says_what_holds_devices(node: OperatedNode) -> None:
    """It names the containers that keep their devices, and says that new pods get none until the plugin is started."""
    pod = await node.kubelet.admit("trainer", {STUB: 1})
    (device,) = pod.held(STUB)
    said = await node.dphub("stop", "stub")
    first, held, until_started = said.out.splitlines()
    assert (said.code, first.startswith("stub: stopped after ")) == (0, True), said
    assert held == f"stub: 1 device in use, its container keeps it: {device} (default/trainer/main)"
    assert until_started == f"stub: new pods cannot get {STUB} until it is started again: dphub start stub"
    said = await node.dphub("stop", "stub")
    assert (said.code, said.out) == (0, "stub: already stopped\n"), said
    await node.dphub("start", "stub")
    await node.kubelet.remove("trainer")
    said = await node.dphub("stop", "stub")
    assert "in use" not in said.out


async def test_stop_while_the_use_of_devices_is_unknown(node: OperatedNode) -> None:
    """The command says that the use is unknown, and stops the plugin."""
    (node.plugin_dir.parent / "pod-resources" / "kubelet.sock").unlink()
    said = await node.dphub("stop", "stub")
    assert (said.code, "cannot determine which containers use them: the pod" in said.out) == (0, True), said


async def test_one_device(node: OperatedNode) -> None:
    """By any of its names, everything that is known about it is shown; the same is available as JSON."""
    pod = await node.kubelet.admit("trainer", {GPU: 1})
    (held,) = pod.held(GPU)
    gpu = next(each for each in node.gpus.gpus if each.uuid == held)
    for name in (gpu.uuid, gpu.uuid[:12], gpu.pci, f"{GPU} {gpu.uuid}"):
        said = await node.dphub("devices", name, width=200)
        facts = {line[:16].strip(): line[16:].strip() for line in said.out.splitlines()}
        assert facts["device"] == gpu.uuid, said
        assert (facts["resource"], facts["plugin"], facts["health"]) == (GPU, "gpu", "healthy")
        assert (facts["model"], facts["PCI address"]) == (gpu.name, gpu.pci)
        assert facts["used by"] == "default/trainer/main"
        lines = (await node.dphub("devices", name, "--json")).out.splitlines()
        assert [json.loads(line)["id"] for line in lines] == [gpu.uuid]
    said = await node.dphub("devices", "mlx5_0", width=200)
    assert node.hcas.pci("mlx5_0") in said.out
    await node.dphub("cordon", "stub-1", "--reason", "the fan is loud")
    said = await node.dphub("devices", "stub-1")
    assert "cordoned: the fan is loud" in said.out


async def test_one_device_of_several_shares() -> None:
    """The output shows once what all shares have in common, and below that each share with its holder."""
    shared = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 4}]}}"
    async with operated(gpus="pair", files={"gpu.yaml": shared}, wanted={GPU: 8}) as node:
        await node.kubelet.admit("trainer", {GPU: 1})
        gpu = node.gpus.gpus[0]
        said = await node.dphub("devices", gpu.pci, width=200)
        assert (said.code, said.out.count(f"{gpu.uuid}::")) == (0, 4), said
        assert said.out.count(gpu.name) == 1


async def test_a_name_that_is_nearly_right(node: OperatedNode) -> None:
    """For plugins, resources, devices and hubs, the error suggests the name that was probably meant."""
    for words, meant in [
        (["restart", "stbu"], "did you mean stub?"),
        (["logs", "gpuu"], "did you mean gpu?"),
        (["devices", "example.com/stbu"], f"did you mean {STUB}?"),
        (["cordon", "mlx5-0"], "did you mean mlx5_0?"),
        (["status", "--instance", "dphbu"], "did you mean dphub?"),
    ]:
        said = await node.dphub(*words)
        assert (said.code, meant in said.err) == (2, True), said


async def test_a_restart_without_a_kubelet(node: OperatedNode) -> None:
    """The command does not wait forever: it says what the plugin is waiting for."""
    await node.kubelet.stop()
    said = await node.dphub("restart", "stub")
    assert (said.code, "but not registered (waiting for kubelet)" in said.err) == (1, True), said


async def test_unknown_names(node: OperatedNode) -> None:
    """A missing plugin, device or level is named, with those that exist; nothing is changed."""
    for words, expected in [
        (["restart", "gpus"], "there is no plugin gpus; the plugins are gpu, ib, stub"),
        (["status", "gpus"], "there is no plugin gpus"),
        (["logs", "gpus"], "there is no plugin gpus"),
        (["devices", "gpus"], "there is no plugin, resource or device gpus"),
        (["cordon", "stub-9"], "there is no device stub-9"),
        (["cordon", "stub-3", "--plugin", "nope"], "there is no plugin nope; the plugins are gpu, ib, stub"),
        (["cordon", "stub-3", "--plugin", "gpu"], "gpu has no device stub-3"),
        (["cordon", ""], "the device name is empty"),
        (["status", "--instance", "nope"], f"there is no hub nope in {node.run_dir.path}; the existing hub is dphub"),
        (
            ["cordon", "stub-"],
            "stub- is too short, expected at least 8 characters of an id; it matches ",
        ),
        (["uncordon", "stub-1"], "stub-1 is not cordoned"),
        (["log-level", "stub", "loud"], "'loud' is not one of"),
    ]:
        said = await node.dphub(*words)
        assert (said.code in {1, 2}, expected in said.err) == (True, True), said


async def test_no_hub() -> None:
    """Without a hub, its last report is still shown, and commands that need a hub say so."""
    async with operated() as node:
        await node.stop_hub()
        said = await node.dphub("status")
        assert (said.code, "the hub is not running" in said.out) == (1, True), said
        said = await node.dphub("restart", "stub")
        assert (said.code, "start one with dphub run" in said.err) == (2, True), said
        said = await node.dphub("status", "--run-dir", str(node.directory))
        assert (said.code, "no hub has ever run in" in said.err) == (2, True), said


async def test_devices_and_who_holds_them(node: OperatedNode) -> None:
    """The list shows every device with its location and type, and the container that has it, as the kubelet reports."""
    pod = await node.kubelet.admit("trainer", {GPU: 2, HCA: 1})
    said = await node.dphub("devices", "--json")
    devices = {device["id"]: device for device in map(json.loads, said.out.splitlines())}
    held = {name for name, device in devices.items() if device.get("holder") == "default/trainer/main"}
    assert held == {name for names in pod.containers["main"].devices.values() for name in names}
    gpu = devices[node.gpus.gpus[0].uuid]
    assert gpu["attributes"]["model"] == node.gpus.gpus[0].name
    assert gpu["pci"] == [node.gpus.gpus[0].pci]
    assert len(gpu["upstream"]) > 1
    assert "200 Gb/s ACTIVE" in devices[node.hcas.pci("mlx5_0")]["attributes"]["ports"]
    said = await node.dphub("devices", HCA, width=200)
    assert "default/trainer/main" in said.out
    assert STUB not in said.out
    await node.kubelet.remove("trainer")
    said = await node.dphub("devices", width=200)
    assert "trainer" not in said.out
    assert await node.metric("dphub_devices_allocated") == 0


async def test_the_status_counts_what_is_allocated_now(node: OperatedNode) -> None:
    """After an admission or a removal, the status has the current number, whatever the plugin last reported."""

    async def allocated() -> object:
        said = await node.dphub("status", "gpu", "--json")
        (resource,) = json.loads(said.out)["report"]["resources"]
        return resource["allocated"]

    await node.kubelet.admit("trainer", {GPU: 2})
    assert await allocated() == 2
    await node.kubelet.remove("trainer")
    assert await allocated() == 0
    assert "trainer" not in (await node.dphub("devices", width=200)).out


async def test_devices_without_pod_resources(node: OperatedNode) -> None:
    """If the kubelet does not report which container uses which device, the output says so and shows the rest."""
    (node.plugin_dir.parent / "pod-resources" / "kubelet.sock").unlink()
    said = await node.dphub("devices", width=200)
    assert (said.code, "stub-3" in said.out, "Cannot determine which containers use which devices" in said.err) == (
        0,
        True,
        True,
    ), said
    said = await node.dphub("reset", "stub-1")
    assert (said.code, "cannot determine whether it is in use" in said.err) == (1, True), said


async def test_logs_and_levels(node: OperatedNode) -> None:
    """The command shows a plugin's latest lines, including the hub's; a level applies at once, until a restart."""
    said = await node.dphub("log-level", "stub", "debug")
    assert said.code == 0, said
    await node.kubelet.admit("trainer", {STUB: 1})
    await wait_until(lambda: "devices allocated" in node.run_dir.log("stub").read_text(), "a debug line in the log")
    plugin = await node.status_until(lambda status: status.plugins[2].log_level == "debug", "the level in the status")
    assert plugin.plugins[0].log_level == "info"
    said = await node.dphub("logs", "stub", "--json", "-n", "0")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {line["plugin"] for line in lines} == {"stub"}
    assert {"plugin started", "registered", "devices allocated"} <= {line["event"] for line in lines}
    assert lines == sorted(lines, key=lambda line: line["timestamp"])
    said = await node.dphub("logs", "-n", "0")
    assert "hub started" in said.out
    assert "plugin=gpu" in said.out
    await node.dphub("restart", "stub")
    await node.status_until(lambda status: status.plugins[2].log_level == "info", "the level that was configured")


async def test_following_logs(node: OperatedNode) -> None:
    """New log lines of all processes are shown, even after a restart of the plugin."""
    async with node.running("logs", "stub", "-f", "-n", "1") as lines:
        await lines.until("registered")
        node.stub_faults(unhealthy={"stub-2": "pulled out"})
        await lines.until("pulled out")
        await node.dphub("restart", "stub")
        await lines.until("plugin stopped")
        await lines.until("registered")


async def test_watching_the_status(node: OperatedNode) -> None:
    """`dphub status --watch` keeps the status up to date until it is interrupted."""
    async with node.running("status", "--watch") as lines:
        await lines.until("No problems")
        node.stub_faults(unhealthy={"stub-2": "pulled out"})
        await lines.until("pulled out")
