"""The pod of the DaemonSet, as its manifest describes it, with this image in it."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from tests.image.pod import GRACE, StartPod, Wanted

BASE = Path(__file__).parents[2] / "container" / "base"
KERNEL = ("/dev", "/proc", "/sys")
"""Where a test has what the node has."""

POD_NAME = "device-plugin-hub-x7k2p"
FIELDS = {"metadata.name": POD_NAME, "spec.nodeName": "node-a", "status.podIP": "127.0.0.1"}


def _wanted(manifest: dict[str, Any], node: Path) -> Wanted:
    """What a kubelet reads out of the manifest, on a node whose directories are below `node`."""
    spec = manifest["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    sources = {volume["name"]: _source(volume, node) for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    security = container["securityContext"]
    return Wanted(
        args=container["args"],
        env=_environment(container["env"]),
        working_dir=container["workingDir"],
        volumes={_real(at): sources[mount["name"]] for at, mount in mounts.items()},
        read_only_volumes=frozenset(_real(at) for at, mount in mounts.items() if mount.get("readOnly")),
        read_only=security["readOnlyRootFilesystem"],
        privileged=security["privileged"],
    )


def _source(volume: dict[str, Any], node: Path) -> Path:
    """The directory that a volume is."""
    if "configMap" in volume:
        # Made of files beside the manifest.
        generator = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"]
        (files,) = (each["files"] for each in generator if each["name"] == volume["configMap"]["name"])
        directory = node / "config"
        directory.mkdir()
        for name in files:
            shutil.copy(BASE / name, directory)
        return directory
    path: str = volume["hostPath"]["path"]
    if path.startswith(KERNEL):
        return Path(path)
    directory = node / "host" / path.removeprefix("/")
    if volume["hostPath"]["type"] == "DirectoryOrCreate" or path == "/":
        directory.mkdir(parents=True, exist_ok=True)
    return directory


def _environment(listed: list[dict[str, Any]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for variable in listed:
        value = variable.get("value") or FIELDS[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        for name, known in values.items():
            value = value.replace(f"$({name})", known)
        values[variable["name"]] = value
    return values


def _real(path: str) -> str:
    return path.replace("/var/run/", "/run/")


async def test_its_pod_serves_a_node(node: Path, start_pod: StartPod) -> None:
    """The manifest's mounts, arguments and rights are enough: resources register, the probes' question is answered."""
    manifest = yaml.safe_load((BASE / "daemonset.yaml").read_text())
    kubelet_root = node / "host/var/lib/kubelet"
    wanted = _wanted(manifest, node)
    async with FakeKubelet(kubelet_root / "device-plugins") as kubelet:
        pod = start_pod(wanted)
        await kubelet.wait_until(lambda kubelet: {"nvidia.com/gpu", "rdma/hca"} <= kubelet.capacity().keys(), GRACE)
        assert await pod.exec("dphub", "health") == (0, "ok\n")
        code, said = await pod.exec("dphub", "start", "stub")
        assert code == 0, said
        await kubelet.wait_for(STUB, 4, GRACE)
        await kubelet.admit("trainer", {STUB: 2})
        pod.signal("TERM")
        assert await pod.ended(manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]) == 0, pod.log
