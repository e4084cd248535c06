"""docs/labels.md: the labels in its tables are those that nodes get, and its examples work."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import pytest
import yaml

from hub import Host
from hub.base.featurefiles import FEATURES_DIR, FEATURES_VARIABLE, LIFETIME, feature_file, health_labels, label_problem
from hub.cli.commands.run import run
from hub.plugin.devices.nodelabels import DEGRADED, HEALTHY, UNHEALTHY
from hub.supervisor.config.watchers import read_config
from plugins.amd.discovery.facts import DriverFacts
from plugins.amd.discovery.gpus import read_gpus as read_amd_gpus
from plugins.amd.labels import node_labels as amd_labels
from plugins.gpu.discovery.facts import DriverState, Engines, Gpu, MigDevice
from plugins.gpu.labels import node_labels as gpu_labels
from plugins.gpu.resources import plan
from plugins.gpu.settings.file import GPUSettings
from plugins.ib.discovery.facts import Hca, Port
from plugins.ib.labels import node_labels as ib_labels
from plugins.intel.discovery.gpus import read_gpus as read_intel_gpus
from plugins.intel.labels import node_labels as intel_labels
from tests.docs.docs_tools import blocks, codes, page, rows
from tests.simulators.amdnodes import mi300x
from tests.simulators.inteltree import two_flex

VARIABLE = {"PROFILE": r"\d+g\.\d+gb", "VALUE": r"[\w.-]+", "CLASS-ID": r"[0-9a-f]{4}-[0-9a-f]{4}"}
"""Placeholders in documented names, and patterns for what they stand for."""


def _gpu(number: int, *, mig: bool) -> Gpu:
    size = Engines(14, copy=1, decoder=0, encoder=0, jpeg=0, ofa=0)
    migs = (MigDevice(f"MIG-{number}", 0, "1g.5gb", 7, 0, 1, 1, 5 << 30, engines=size),) if mig else ()
    return Gpu(f"GPU-{number}", number, number, "NVIDIA A100", "", 40 << 30, 0, (8, 0), mig, migs, mig_capable=True)


def _of_gpus(root: Path) -> Iterable[Mapping[str, str]]:
    for strategy in ("none", "single", "mixed"):
        settings = msgspec.convert({"flags": {"migStrategy": strategy}}, GPUSettings)
        state = DriverState((_gpu(0, mig=True), _gpu(1, mig=False)), driver="580.65.06", cuda=(13, 0))
        yield gpu_labels(settings, state, plan(settings, state.gpus).shares, Host(root))


def _of_amd(root: Path) -> Iterable[Mapping[str, str]]:
    driver = DriverFacts("6.10.5", "ABC")
    gpus = read_amd_gpus(Host(mi300x(root).root)).gpus
    yield amd_labels(gpus, driver)
    first, second = gpus[:2]
    card = msgspec.structs.replace(second.card, product="other", device_id="74a2")
    node = msgspec.structs.replace(second.node, gfx="gfx1100", vram=1 << 30, simds=4, simds_per_cu=2)
    yield amd_labels([first, msgspec.structs.replace(second, card=card, node=node)], driver)


def _of_intel(root: Path) -> Iterable[Mapping[str, str]]:
    yield intel_labels(read_intel_gpus(Host(two_flex(root).root)))


def _of_rdma(_: Path) -> Iterable[Mapping[str, str]]:
    ports = tuple(Port(1, "ACTIVE", "LinkUp", layer, 400) for layer in ("InfiniBand", "Ethernet"))
    yield ib_labels([Hca("0000:07:00.0", "15b3", "101b", "mlx5_core", 0, (), (), ports=ports)])


@pytest.mark.parametrize(
    ("plugin", "nodes"),
    [("GPU", _of_gpus), ("AMD", _of_amd), ("Intel", _of_intel), ("IB", _of_rdma)],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_every_label_is_documented(tmp_path: Path, plugin: str, nodes: object) -> None:
    """Each label of a node is in the table of its plugin, and a node gets each label in a table."""
    found = {name for labels in nodes(tmp_path) for name in labels}  # type: ignore[operator]
    documented = [
        name for cells in rows("labels", f"label of the {plugin} plugin", "value") for name in codes(cells[0])
    ]
    patterns = {name: re.compile(_pattern(name)) for name in documented}
    assert [name for name in found if not any(pattern.fullmatch(name) for pattern in patterns.values())] == []
    assert [name for name, pattern in patterns.items() if not any(map(pattern.fullmatch, found))] == []


def _pattern(name: str) -> str:
    text = re.escape(name).replace(r"\-", "-")
    for part, pattern in VARIABLE.items():
        text = text.replace(part, pattern)
    return text


def test_labels_of_health() -> None:
    """The page has their names, their values, and the maximum length of a plugin's name."""
    health, unhealthy = rows("labels", "label", "value")
    assert codes(health[0] + unhealthy[0]) == list(health_labels("PLUGIN"))
    assert codes(health[1]) == [HEALTHY, DEGRADED, UNHEALTHY]
    (longest,) = re.findall(r"has more than (\d+) characters", page("labels"))
    valid = [not label_problem(health_labels("p" * (int(longest) + more))[1], "1") for more in (0, 1)]
    assert valid == [True, False]


def test_times_and_paths() -> None:
    """The times and paths on the page match the code."""
    assert page("labels").count("stay for ten minutes") == 1
    assert LIFETIME == 600
    assert f"`{feature_file(FEATURES_DIR, 'gpu')}`" in page("labels")


def test_the_command_and_the_section(tmp_path: Path) -> None:
    """`dphub run` has the option, and labels can be switched off for a plugin."""
    assert f"$ dphub run --features-dir {FEATURES_DIR}" in page("labels")
    assert "--features-dir" in [name for option in run.params for name in option.opts]
    (section,) = blocks("labels", "ini")
    path = tmp_path / "circus.ini"
    path.write_text(f"[watcher:gpu]\ncmd = python -m hub.plugin plugins.gpu:GPU\n{section}")
    (plugin,) = read_config(path)
    assert plugin.env == {FEATURES_VARIABLE: ""}


def test_the_selector() -> None:
    """The page's selector selects nodes by labels that a node can have."""
    (text,) = blocks("labels", "yaml")
    selector = yaml.safe_load(text)["nodeSelector"]
    assert [label_problem(name, value) for name, value in selector.items()] == [""]
    assert set(selector.values()) == {HEALTHY}
