"""Labels of nodes with NVIDIA's GPUs: those of GPU feature discovery.

The cases, their names and values are taken from its tests (internal/lm in NVIDIA/k8s-device-plugin, August 2026). Its
mock devices are GPUs named MOCKMODEL with 300 MiB and compute capability 8.0.
"""

import re
from pathlib import Path

import msgspec
import pytest

from hub import Host
from hub.base.featurefiles import label_problem
from plugins.gpu.discovery.facts import DriverState, Engines, Gpu, MigDevice
from plugins.gpu.labels import node_labels
from plugins.gpu.plugin import GPU
from plugins.gpu.resources import plan
from plugins.gpu.settings.file import GPUSettings

NO_ENGINES = Engines(0, copy=0, decoder=0, encoder=0, jpeg=0, ofa=0)
ENGINES = Engines(12, copy=13, decoder=14, encoder=15, jpeg=16, ofa=17)
NO_HOST = Host("/nonexistent")
ABOUT_GPUS = re.compile(r"nvidia\.com/(gpu\.(?!machine|mode)|mig-|mig\.strategy)")


def _full(number: int = 0, name: str = "MOCKMODEL") -> Gpu:
    return Gpu(f"GPU-{number}", number, number, name, f"0000:{number:02x}:00.0", 300 << 20, 0, (8, 0), mig_capable=True)


def _mig(gi: int, ci: int, size: int, engines: Engines | None = NO_ENGINES) -> MigDevice:
    return MigDevice(f"MIG-{gi}-{ci}", 0, f"{gi}g.{size}gb", 1, 0, gi, ci, size << 20, engines=engines)


def _divided(number: int, *migs: MigDevice, capability: tuple[int, int] | None = None) -> Gpu:
    """Create a GPU with MIG enabled; the compute capability of NVIDIA's mock is zero, which is unknown."""
    distinct = [
        msgspec.structs.replace(mig, uuid=f"{mig.uuid}-{number}-{index}", index=index) for index, mig in enumerate(migs)
    ]
    return msgspec.structs.replace(_full(number), mig=True, migs=tuple(distinct), compute_capability=capability)


def _labels(*gpus: Gpu, strategy: str = "none", host: Host = NO_HOST, **sharing: object) -> dict[str, str]:
    settings = msgspec.convert({"flags": {"migStrategy": strategy}, "sharing": sharing}, GPUSettings)
    state = DriverState(gpus, driver="400.300", cuda=(8, 0))
    found = node_labels(settings, state, plan(settings, gpus).shares, host)
    assert not [name for name, value in found.items() if label_problem(name, value)]
    return found


def _about(*gpus: Gpu, strategy: str = "none", **sharing: object) -> dict[str, str]:
    """Return the labels that GPU feature discovery's tests of resources cover."""
    found = _labels(*gpus, strategy=strategy, **sharing)
    return {name: value for name, value in found.items() if ABOUT_GPUS.match(name)}


def _of(resource: str = "gpu", **values: object) -> dict[str, str]:
    named = {name.replace("__", ".").replace("_", "-"): str(value) for name, value in values.items()}
    return {f"nvidia.com/{resource}.{name}": value for name, value in named.items()}


WHOLE = _of(
    count=1, replicas=1, sharing_strategy="none", memory=300, product="MOCKMODEL", family="ampere",
    compute__major=8, compute__minor=0,
)  # fmt: skip
ONE_SIZE = {
    **_of(count=1, replicas=1, sharing_strategy="none", memory=100, product="MOCKMODEL-MIG-1g.100gb"),
    **_of(multiprocessors=0, slices__gi=1, slices__ci=2, engines__copy=0, engines__decoder=0, engines__encoder=0),
    **_of(engines__jpeg=0, engines__ofa=0),
}
SINGLE, MIXED = {"nvidia.com/mig.strategy": "single"}, {"nvidia.com/mig.strategy": "mixed"}
INVALID = SINGLE | _of(count=0, replicas=0, sharing_strategy="", memory=0, product="MOCKMODEL-MIG-INVALID")


def _shared(name: str = "nvidia.com/gpu", **more: object) -> dict[str, object]:
    return {"resources": [{"name": name, "replicas": 2, **more}]}


@pytest.mark.parametrize(
    ("sharing", "changed"),
    [
        ({}, {}),
        ({"timeSlicing": _shared("nvidia.com/not-gpu")}, {}),
        ({"timeSlicing": _shared()}, {"sharing_strategy": "time-slicing", "product": "MOCKMODEL-SHARED"}),
        ({"timeSlicing": _shared(rename="nvidia.com/gpu.shared")}, {"sharing_strategy": "time-slicing"}),
        ({"timeSlicing": {**_shared(), "renameByDefault": True}}, {"sharing_strategy": "time-slicing"}),
        ({"mps": _shared("nvidia.com/not-gpu")}, {}),
        ({"mps": _shared()}, {"sharing_strategy": "mps", "product": "MOCKMODEL-SHARED"}),
        ({"mps": _shared(rename="nvidia.com/gpu.shared")}, {"sharing_strategy": "mps"}),
    ],
)
def test_whole_gpus(sharing: dict[str, object], changed: dict[str, object]) -> None:
    """These are TestGPUResourceLabeler, and the none strategy with one GPU and with two."""
    expected = WHOLE | _of(**changed, **({"replicas": 2} if changed else {}))
    assert _about(_full(), **sharing) == expected
    assert _about(_full(0), _full(1), **sharing) == expected | _of(count=2)


def test_divided_gpus_without_a_strategy() -> None:
    """As in TestMigStrategyNoneLabels, GPUs with MIG are not shared, unless others of the model are."""
    divided = _of(replicas=0, sharing_strategy="none", memory=300, product="MOCKMODEL")
    assert _about(_divided(0), timeSlicing=_shared()) == divided | _of(count=1)
    assert _about(_divided(0), _divided(1), timeSlicing=_shared()) == divided | _of(count=2)
    shared = WHOLE | _of(count=2, replicas=2, sharing_strategy="time-slicing", product="MOCKMODEL-SHARED")
    assert _about(_divided(0), _full(1), timeSlicing=_shared()) == shared


def test_strategy_single() -> None:
    """These are the cases of TestMigStrategySingleLabels in which NVIDIA's plugin serves anything."""
    assert _about(_full(), strategy="single") == WHOLE | SINGLE
    assert _about(_full(0), _full(1), strategy="single") == WHOLE | SINGLE | _of(count=2)
    assert _about(_divided(0, _mig(1, 2, 100)), strategy="single") == ONE_SIZE | SINGLE
    two = [_divided(number, _mig(1, 2, 100, ENGINES)) for number in range(2)]
    expected = _of(count=2, multiprocessors=12, engines__copy=13, engines__decoder=14, engines__encoder=15)
    assert _about(*two, strategy="single") == ONE_SIZE | SINGLE | expected | _of(engines__jpeg=16, engines__ofa=17)
    assert _about(_divided(0), strategy="single") == INVALID


def test_strategy_single_on_a_node_that_nvidias_plugin_rejects() -> None:
    """The labels describe what is served, where GPU feature discovery has MOCKMODEL-MIG-INVALID."""
    gpus = [_divided(0, _mig(1, 2, 100), _mig(1, 2, 100), _mig(3, 4, 100)), _full(1), _divided(2)]
    found = _about(*gpus, strategy="single")
    assert found == WHOLE | ONE_SIZE | SINGLE | _of(count=2)


@pytest.mark.parametrize(
    ("sharing", "changed"),
    [
        ({}, {}),
        ({"timeSlicing": _shared()}, {}),
        ({"timeSlicing": _shared("nvidia.com/mig-1g.300gb")}, {"product": "MOCKMODEL-MIG-1g.300gb-SHARED"}),
        ({"timeSlicing": _shared("nvidia.com/mig-1g.300gb", rename="nvidia.com/mig-1g.300gb.shared")}, {"replicas": 2}),
    ],
)
def test_strategy_mixed(sharing: dict[str, object], changed: dict[str, object]) -> None:
    """As in TestMigResourceLabeler, each profile has its own labels, in addition to those of whole GPUs."""
    found = _about(_divided(0, _mig(1, 1, 300), _mig(1, 1, 300)), strategy="mixed", **sharing)
    shared = {"replicas": 2, "sharing_strategy": "time-slicing"} if changed else {}
    size = {"memory": 300, "product": "MOCKMODEL-MIG-1g.300gb", "count": 2, "slices__ci": 1} | shared | changed
    profile = {name.replace("gpu", "mig-1g.300gb"): value for name, value in ONE_SIZE.items()}
    profile |= _of("mig-1g.300gb", **size)
    divided = _of(count=1, replicas=0, sharing_strategy="none", memory=300, product="MOCKMODEL")
    assert found == divided | MIXED | profile


def test_a_profile_with_media_extensions() -> None:
    """A label cannot contain the plus sign."""
    mig = msgspec.structs.replace(_mig(1, 1, 5), profile="1g.5gb+me")
    assert _about(_divided(0, mig), strategy="mixed")["nvidia.com/mig-1g.5gb.me.product"] == "MOCKMODEL-MIG-1g.5gb.me"


def test_what_is_unknown_has_no_label() -> None:
    """It may be the memory of a GPU that shares the CPU's, its capability, or the engines of a MIG device."""
    gpu = msgspec.structs.replace(_full(), memory=None, compute_capability=None)
    assert _about(gpu) == _of(count=1, replicas=1, sharing_strategy="none", product="MOCKMODEL")
    found = _about(_divided(0, _mig(1, 2, 100, None)), strategy="single")
    assert not [name for name in found if "engines" in name or "multiprocessors" in name]


def test_no_gpu() -> None:
    """There are no labels."""
    assert _labels() == {}


@pytest.mark.parametrize(
    ("driver", "expected"),
    [
        ("400.300", {"driver-version.full": "400.300", "driver-version.revision": "", "driver.rev": ""}),
        ("580.65.06", {"driver-version.full": "580.65.06", "driver-version.revision": "06", "driver.rev": "06"}),
        ("odd", {}),
        ("1.2.3.4", {}),
    ],
)
def test_versions(driver: str, expected: dict[str, str]) -> None:
    """They are there under the newer names and under those that NVIDIA calls deprecated."""
    settings = GPUSettings()
    found = node_labels(settings, DriverState((_full(),), driver=driver, cuda=(12, 8)), (), NO_HOST)
    versions = {name.removeprefix("nvidia.com/cuda."): value for name, value in found.items() if "cuda" in name}
    runtime = {"runtime.major": "12", "runtime.minor": "8", "runtime-version.major": "12"}
    runtime |= {"runtime-version.minor": "8", "runtime-version.full": "12.8"}
    if expected:
        major, minor = driver.split(".")[:2]
        expected = expected | {"driver.major": major, "driver.minor": minor}
        expected |= {"driver-version.major": major, "driver-version.minor": minor}
    assert versions == expected | runtime
    assert not [name for name in node_labels(settings, DriverState((_full(),)), (), NO_HOST) if "cuda" in name]


@pytest.mark.parametrize(
    ("capability", "family"),
    [
        *(((1, 3), "tesla"), ((2, 1), "fermi"), ((3, 7), "kepler"), ((4, 0), "undefined"), ((5, 2), "maxwell")),
        *(((6, 1), "pascal"), ((7, 0), "volta"), ((7, 2), "volta"), ((7, 5), "turing"), ((8, 6), "ampere")),
        *(((8, 9), "ada-lovelace"), ((9, 0), "hopper"), ((10, 3), "blackwell"), ((11, 0), "undefined")),
        *(((12, 1), "blackwell"), ((13, 0), "rubin"), ((14, 0), "undefined")),
    ],
)
def test_families(capability: tuple[int, int], family: str) -> None:
    """They have the names of GPU feature discovery."""
    gpu = msgspec.structs.replace(_full(), compute_capability=capability)
    assert _labels(gpu)["nvidia.com/gpu.family"] == family


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("NVIDIA A100-SXM4-40GB", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3"),
        ("NVIDIA  RTX (A) 6000®", "NVIDIA-RTX-A-6000"),
    ],
)
def test_products(name: str, product: str) -> None:
    """Characters that a label cannot contain are left out, and spaces become hyphens."""
    assert _labels(_full(name=name))["nvidia.com/gpu.product"] == product


def test_several_models() -> None:
    """The most frequent one is used."""
    found = _labels(_full(0, "A"), _full(1, "B"), _full(2, "B"))
    assert (found["nvidia.com/gpu.product"], found["nvidia.com/gpu.count"]) == ("B", "2")


def test_capabilities() -> None:
    """MIG is one if any GPU has it, MPS if it is configured and no GPU is partitioned."""
    plain = msgspec.structs.replace(_full(1), mig_capable=False)
    assert _labels(plain)["nvidia.com/mig.capable"] == "false"
    assert _labels(plain, _full())["nvidia.com/mig.capable"] == "true"
    assert [
        _labels(*gpus, **sharing)["nvidia.com/mps.capable"]
        for gpus, sharing in (
            ([_full()], {}),
            ([_full()], {"timeSlicing": _shared()}),
            ([_full()], {"mps": _shared()}),
            ([_full(), _divided(1)], {"mps": _shared()}),
        )
    ] == ["false", "false", "true", "false"]


def test_machine_and_mode(tmp_path: Path) -> None:
    """They come from the node's firmware, and from the PCI classes of the GPUs, if they are equal."""
    assert (_labels(_full())["nvidia.com/gpu.machine"], _labels(_full())["nvidia.com/gpu.mode"]) == ("unknown",) * 2
    (tmp_path / "sys/class/dmi/id").mkdir(parents=True)
    (tmp_path / "sys/class/dmi/id/product_name").write_text("PowerEdge R750 (xa)\n")
    modes = []
    for classes in (("0x030200", "0x030200"), ("0x030000", "0x030000"), ("0x030000", "0x030200"), ("", "0x030000")):
        for number, code in enumerate(classes):
            path = tmp_path / f"sys/bus/pci/devices/0000:{number:02x}:00.0"
            path.mkdir(parents=True, exist_ok=True)
            (path / "class").write_text(code)
        found = _labels(_full(0), _full(1), host=Host(tmp_path))
        modes.append(found["nvidia.com/gpu.mode"])
    assert modes == ["compute", "graphics", "unknown", "unknown"]
    assert found["nvidia.com/gpu.machine"] == "PowerEdge-R750-xa"


def test_a_plugin_without_a_driver() -> None:
    """Before the first scan it does not know of any GPUs, and has no labels."""
    assert GPU(GPUSettings(), NO_HOST).labels([]) == {}
