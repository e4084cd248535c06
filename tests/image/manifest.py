"""The pod of the manifests, on a node whose directories are below one directory."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.manifest_tools import VALUES, charted, only
from tests.image.pod import ContainerSpec

BASE = Path(__file__).parents[2] / "container" / "base"
KERNEL = ("/dev", "/proc", "/sys")
"""Directories that come from the machine's kernel, unless the simulated node has its own."""

POD_NAME = "device-plugin-hub-x7k2p"
FIELDS = {"metadata.name": POD_NAME, "spec.nodeName": "node-a", "status.podIP": "127.0.0.1"}


def read_base() -> dict[str, Any]:
    """Return the DaemonSet without components."""
    manifest: dict[str, Any] = yaml.safe_load((BASE / "daemonset.yaml").read_text())
    return manifest


def component(name: str) -> dict[str, Any]:
    """Return the DaemonSet with a component."""
    return only(charted(VALUES[name]), "DaemonSet")


def without_volume(manifest: dict[str, Any], volume: str) -> None:
    """Remove a volume's mount from the pod of a DaemonSet; keep all mounts if the volume's name is empty."""
    (hub,) = manifest["spec"]["template"]["spec"]["containers"]
    assert not volume or volume in [mount["name"] for mount in hub["volumeMounts"]]
    hub["volumeMounts"] = [mount for mount in hub["volumeMounts"] if mount["name"] != volume]


def pod_of(manifest: dict[str, Any], host: Path) -> ContainerSpec:
    """Return the container's specification, as a kubelet reads it from a DaemonSet.

    Args:
        manifest: The DaemonSet.
        host: The node's file system.
    """
    spec = manifest["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    sources = {volume["name"]: _source(volume, host) for volume in spec["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    security = container["securityContext"]
    return ContainerSpec(
        args=container["args"],
        env=_environment(container["env"]),
        working_dir=container["workingDir"],
        volumes={_real(at): sources[mount["name"]] for at, mount in mounts.items()},
        read_only_volumes=frozenset(_real(at) for at, mount in mounts.items() if mount.get("readOnly")),
        read_only=security["readOnlyRootFilesystem"],
        user=security["runAsUser"],
        privileged=security["privileged"],
        host_pid=spec.get("hostPID", False),
    )


def _source(volume: dict[str, Any], host: Path) -> Path:
    """Return the directory that a volume mounts."""
    if "configMap" in volume:
        # kustomize generates the ConfigMap from files next to the manifest.
        generator = yaml.safe_load((BASE / "kustomization.yaml").read_text())["configMapGenerator"]
        (files,) = (each["files"] for each in generator if volume["configMap"]["name"].startswith(each["name"]))
        directory = host.parent / "config"
        directory.mkdir(exist_ok=True)
        for name in files:
            if not (directory / name).exists():
                shutil.copy(BASE / name, directory)
        return directory
    path: str = volume["hostPath"]["path"]
    directory = host / path.removeprefix("/")
    if path.startswith(KERNEL) and not directory.exists():
        return Path(path)
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
