"""CDI files are valid, complete at every moment, and match the devices."""

from pathlib import Path
from typing import Any

import pytest

from tests.simulators.nvml import DRIVER
from tests.unit.plugins.gpu.cdi_writer import VENDOR, CdiWriter


def _nodes(spec: dict[str, Any], name: str) -> list[str]:
    (device,) = [device for device in spec["devices"] if device["name"] == name]
    return [node["path"] for node in device["containerEdits"]["deviceNodes"]]


def test_gpus_and_mig_devices(tmp_path: Path) -> None:
    """Each has its UUID and its device files, and "all" has all of them; each also has the control files."""
    writer = CdiWriter(tmp_path, "a100x2", {1: "mixed"})
    spec = writer.specs()["gpu"]
    assert spec["kind"] == f"{VENDOR}/gpu"
    first, second = writer.driver.gpus
    assert [device["name"] for device in spec["devices"]] == [
        first.uuid,
        second.uuid,
        *(mig.uuid for mig in second.migs),
        "all",
    ]
    assert _nodes(spec, first.uuid) == ["/dev/nvidia1"]
    assert _nodes(spec, second.migs[0].uuid) == [
        "/dev/nvidia0",
        "/dev/nvidia-caps/nvidia-cap3",
        "/dev/nvidia-caps/nvidia-cap4",
    ]
    control = [node["path"] for node in spec["containerEdits"]["deviceNodes"]]
    assert control == ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"]
    assert "NVIDIA_VISIBLE_DEVICES=void" in spec["containerEdits"]["env"]


def test_names_by_index(tmp_path: Path) -> None:
    """The specification uses the same names as the responses."""
    flags = {"plugin": {"deviceListStrategy": "cdi-annotations", "deviceIDStrategy": "index"}}
    spec = CdiWriter(tmp_path, "a100x2", {1: "1g"}, flags=flags).specs()["gpu"]
    assert [device["name"] for device in spec["devices"]] == ["0", "1", *(f"1:{n}" for n in range(7)), "all"]


def test_the_driver(tmp_path: Path) -> None:
    """It has the driver's libraries and programs under the names that programs look for, even without NVIDIA's tool."""
    mounts = CdiWriter(tmp_path).specs()["gpu"]["containerEdits"]["mounts"]
    paths = {mount["containerPath"]: mount["hostPath"] for mount in mounts}
    library = f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}"
    assert paths[library] == library
    assert paths["/usr/lib/x86_64-linux-gnu/libcuda.so.1"] == library
    assert paths["/usr/bin/nvidia-smi"] == "/usr/bin/nvidia-smi"
    assert all(mount["options"] == ["ro", "nosuid", "nodev", "rbind", "rprivate"] for mount in mounts)


def test_a_driver_in_a_directory_of_its_own(tmp_path: Path) -> None:
    """Machines of cloud providers have such a directory: NVIDIA's images search /usr/local/nvidia/lib64."""
    writer = CdiWriter(tmp_path)
    own = tmp_path / "usr/local/nvidia/lib64"
    own.parent.mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu").rename(own)
    mounts = writer.specs()["gpu"]["containerEdits"]["mounts"]
    assert f"/usr/local/nvidia/lib64/libcuda.so.{DRIVER}" in [mount["containerPath"] for mount in mounts]
    assert writer.problem == ""


def test_no_driver_to_be_found(tmp_path: Path) -> None:
    """Containers would start without it, so the GPUs are unhealthy, and the reason says where the plugin looked."""
    writer = CdiWriter(tmp_path)
    (tmp_path / "usr/lib/x86_64-linux-gnu").rename(tmp_path / "usr/lib/elsewhere")
    writer.specs()
    assert writer.problem.startswith(
        f"the CDI file contains no driver: no library of the driver {DRIVER} was found under /, in /usr/lib64, "
    )


@pytest.mark.parametrize(
    ("disabled", "hooks"),
    [([], ["create-symlinks", "update-ldcache"]), (["create-symlinks"], ["update-ldcache"]), (["all"], [])],
)
def test_disabled_hooks(tmp_path: Path, disabled: list[str], hooks: list[str]) -> None:
    """The file does not contain them."""
    tool = tmp_path / "usr/bin/nvidia-cdi-hook"
    tool.parent.mkdir(parents=True)
    tool.touch()
    flags = {"plugin": {"deviceListStrategy": "cdi-cri", "nvidiaCTKPath": "/usr/bin/nvidia-cdi-hook"}}
    edits = CdiWriter(tmp_path, flags=flags, dphub={"cdi": {"disable_hooks": disabled}}).specs()["gpu"][
        "containerEdits"
    ]
    assert [hook["args"][1] for hook in edits.get("hooks", [])] == hooks


def test_hooks(tmp_path: Path) -> None:
    """If the node has NVIDIA's hooks without the rest of the toolkit, they make links and the loader's cache."""
    tool = tmp_path / "usr/bin/nvidia-cdi-hook"
    tool.parent.mkdir(parents=True)
    tool.touch()
    flags = {"plugin": {"deviceListStrategy": "cdi-cri", "nvidiaCTKPath": "/usr/bin/nvidia-cdi-hook"}}
    edits = CdiWriter(tmp_path, flags=flags).specs()["gpu"]["containerEdits"]
    links, cache = edits["hooks"]
    assert (links["path"], links["args"][:2]) == ("/usr/bin/nvidia-cdi-hook", ["nvidia-cdi-hook", "create-symlinks"])
    assert f"--link=libcuda.so.{DRIVER}::/usr/lib/x86_64-linux-gnu/libcuda.so.1" in links["args"]
    assert "--link=libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so" in links["args"]
    assert cache["args"] == ["nvidia-cdi-hook", "update-ldcache", "--folder=/usr/lib/x86_64-linux-gnu"]
    assert not any(mount["containerPath"].endswith(".so.1") for mount in edits["mounts"])


def test_graphics(tmp_path: Path) -> None:
    """It has DRM files with their links by address, and files for EGL, Vulkan, OpenCL, OptiX and the X server."""
    lib, version = "usr/lib/x86_64-linux-gnu", DRIVER
    given = {
        f"{lib}/libnvidia-egl-gbm.so.1.1.2": f"{lib}/libnvidia-egl-gbm.so.1.1.2",
        f"{lib}/libnvidia-nvvm70.so.4": f"{lib}/libnvidia-nvvm70.so.4",
        f"{lib}/libnvidia-vulkan-producer.so.{version}": f"{lib}/libnvidia-vulkan-producer.so.{version}",
        f"{lib}/vdpau/libvdpau_nvidia.so.{version}": f"{lib}/vdpau/libvdpau_nvidia.so.{version}",
        f"{lib}/nvidia/xorg/nvidia_drv.so": f"{lib}/nvidia/xorg/nvidia_drv.so",
        "usr/share/glvnd/egl_vendor.d/10_nvidia.json": "usr/share/glvnd/egl_vendor.d/10_nvidia.json",
        "usr/share/nvidia/nvoptix.bin": "usr/share/nvidia/nvoptix.bin",
        "etc/OpenCL/vendors/nvidia.icd": "etc/OpenCL/vendors/nvidia.icd",
        "usr/share/vulkan/icd.d/nvidia_icd.json": "etc/vulkan/icd.d/nvidia_icd.json",
        f"lib/firmware/nvidia/{version}/gsp_ga10x.bin": f"lib/firmware/nvidia/{version}/gsp_ga10x.bin",
        "usr/bin/nvidia-imex": "usr/bin/nvidia-imex",
        "usr/local/nvidia/bin/nvidia-xconfig": "usr/bin/nvidia-xconfig",
        "run/nvidia-persistenced/socket": "run/nvidia-persistenced/socket",
    }
    flags = {"plugin": {"deviceListStrategy": "cdi-cri", "nvidiaCTKPath": "/usr/bin/nvidia-cdi-hook"}}
    writer = CdiWriter(tmp_path, flags=flags)
    gpu = writer.driver.gpus[0]
    shown = [f"sys/bus/pci/devices/{gpu.pci}/drm/{name}" for name in ("card1", "renderD129")]
    for name in (*given, *shown, "dev/dri/card1", "dev/dri/renderD129", "usr/bin/nvidia-cdi-hook"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    spec = writer.specs()["gpu"]
    mounts = {mount["hostPath"]: mount for mount in spec["containerEdits"]["mounts"]}
    assert {path: mounts[f"/{path}"]["containerPath"] for path in given} == {
        path: f"/{target}" for path, target in given.items()
    }
    assert "noexec" in mounts["/run/nvidia-persistenced/socket"]["options"]
    assert f"NVIDIA_CTK_LIBCUDA_DIR=/{lib}" in spec["containerEdits"]["env"]
    assert _nodes(spec, gpu.uuid) == [f"/dev/nvidia{gpu.minor}", "/dev/dri/card1", "/dev/dri/renderD129"]
    (links,) = spec["devices"][0]["containerEdits"]["hooks"]
    assert links["args"][2:] == [
        f"--link=../card1::/dev/dri/by-path/pci-{gpu.pci}-card",
        f"--link=../renderD129::/dev/dri/by-path/pci-{gpu.pci}-render",
    ]


def test_a_driver_root(tmp_path: Path) -> None:
    """The container has everything at its usual path; the node has it below the root."""
    root = tmp_path / "run/nvidia/driver"
    root.mkdir(parents=True)
    flags = {"nvidiaDriverRoot": "/run/nvidia/driver", "plugin": {"deviceListStrategy": "cdi-cri"}}
    writer = CdiWriter(tmp_path, flags=flags)
    for top in ("usr", "dev"):
        (tmp_path / top).rename(root / top)
    spec = writer.specs()["gpu"]
    assert spec["containerEdits"]["deviceNodes"][0] == {
        "path": "/dev/nvidiactl",
        "hostPath": "/run/nvidia/driver/dev/nvidiactl",
    }
    mount = spec["containerEdits"]["mounts"][0]
    assert mount["hostPath"] == f"/run/nvidia/driver{mount['containerPath']}"


def test_other_classes(tmp_path: Path) -> None:
    """IMEX channels, GDS, MOFED and GDRCopy have files of their own, as long as they are switched on."""
    flags = {"gdsEnabled": True, "mofedEnabled": True, "gdrcopyEnabled": True}
    writer = CdiWriter(tmp_path, flags=flags | {"plugin": {"deviceListStrategy": "cdi-cri"}}, imex={"channelIDs": [0]})
    for name in ("infiniband", "nvidia-caps-imex-channels"):
        (tmp_path / "dev" / name).mkdir()
    for name in (
        "nvidia-caps-imex-channels/channel0",
        "nvidia-fs0",
        "gdrdrv",
        "infiniband/uverbs0",
        "infiniband/umad0",
    ):
        (tmp_path / "dev" / name).touch()
    specs = writer.specs()
    assert specs.keys() == {"gpu", "imex-channel", "gds", "mofed", "gdrcopy"}
    assert _nodes(specs["imex-channel"], "0") == ["/dev/nvidia-caps-imex-channels/channel0"]
    assert _nodes(specs["gds"], "all") == ["/dev/nvidia-fs0"]
    assert _nodes(specs["mofed"], "all") == ["/dev/infiniband/uverbs0"]
    assert _nodes(specs["gdrcopy"], "all") == ["/dev/gdrdrv"]
    (tmp_path / "dev/gdrdrv").unlink()
    assert writer.specs()["gdrcopy"]["devices"][0]["containerEdits"] == {"env": ["NVIDIA_VISIBLE_DEVICES=void"]}


@pytest.mark.parametrize("profile", ["single", "switch16"])
def test_any_number_of_gpus(tmp_path: Path, profile: str) -> None:
    """The files are valid for each profile."""
    writer = CdiWriter(tmp_path, profile)
    assert len(writer.specs()["gpu"]["devices"]) == len(writer.driver.gpus) + 1


def test_the_drivers_directories_are_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the content of the file and what is missing come from one search for each scan."""
    writer = CdiWriter(tmp_path)
    searches: list[tuple[Path, str]] = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda path, pattern: searches.append((path, pattern)) or glob(path, pattern))
    writer.specs()
    found = [where for where, pattern in searches if pattern == f"lib*.so.{DRIVER}"]
    assert found
    assert len(found) == len(set(found))
