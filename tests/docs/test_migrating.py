"""docs/migrating.md: every setting of the other plugins is covered."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import yaml

from hub.plugin.loading import load_settings
from plugins.generic import Generic
from plugins.generic.settings import SmarterEntry
from plugins.generic.settings.devices import LEVELS
from plugins.gpu.settings.environment import VARIABLES
from plugins.gpu.settings.file import Flags, GPUSettings, Imex, PluginFlags
from plugins.gpu.settings.sharing import ResourcePatterns, SharingSection
from plugins.gpu.settings.xids import DISABLE, ENABLE
from plugins.ib.settings import IBSettings, Mode, Pool, Selectors
from plugins.ib.settings.sriov import USERSPACE_DRIVERS
from scripts.migrating import NOT_YET, load_cases, main, make_page
from tests.docs.docs_tools import codes, page, rows

NVIDIA = rows("migrating", "key in the file", "variable", "value in NVIDIA's chart", "the hub")
SHARED = page("migrating").partition("## From the RDMA shared device plugin")[2].partition("\n## ")[0]
SRIOV = page("migrating").partition("## From the SR-IOV network device plugin")[2].partition("\n## ")[0]
GENERIC = page("migrating").partition("## From the generic-device-plugin")[2].partition("\n## ")[0]
SMARTER = page("migrating").partition("## From the smarter-device-manager")[2]

SRIOV_SELECTORS = (
    *("vendors", "devices", "drivers", "pciAddresses", "acpiIndexes", "pfNames", "rootDevices", "linkTypes"),
    *("pKeys", "isRdma", "needVhostNet"),
)
"""The keys by which an entry of the SR-IOV device plugin's file can select devices that the hub serves."""

SHARED_KEYS = {
    *("periodicUpdateInterval", "configList", "resourceName", "resourcePrefix", "rdmaHcaMax", "devices"),
    *(f"selectors.{name}" for name in ("vendors", "deviceIDs", "drivers", "ifNames", "linkTypes")),
}
"""The keys of the RDMA shared device plugin's file."""


def _keys(kind: type[msgspec.Struct], place: str = "") -> set[str]:
    return {f"{place}{field.encode_name}" for field in msgspec.structs.fields(kind)}


def test_every_key_of_nvidias_file_is_documented() -> None:
    """The page has all keys that the code accepts except `dphub`, which NVIDIA's file does not have."""
    documented = {key for row in NVIDIA for key in codes(row[0])}
    accepted = {
        *(_keys(GPUSettings) - {"flags", "resources", "sharing", "imex", "dphub"}),
        *(_keys(Flags, "flags.") - {"flags.plugin"}),
        *_keys(PluginFlags, "flags.plugin."),
        *_keys(ResourcePatterns, "resources."),
        *_keys(SharingSection, "sharing."),
        *_keys(Imex, "imex."),
        # Some of NVIDIA's variables have no key in NVIDIA's file.
        *(key for key, _ in VARIABLES.values() if key.startswith("dphub.")),
    }
    assert documented == accepted


def test_every_variable_of_nvidias_plugin_is_documented() -> None:
    """The page has each variable in the row of the key that it sets, or in one of its own."""
    documented = {variable: codes(row[0]) for row in NVIDIA for variable in codes(row[1])}
    assert VARIABLES.keys() | {DISABLE, ENABLE, "CONFIG_FILE"} <= documented.keys()
    assert {name: documented[name] for name in VARIABLES} == {name: [key] for name, (key, _) in VARIABLES.items()}


def test_every_key_of_the_shared_plugins_file_is_documented() -> None:
    """The page has each key of that file, and the code accepts each of them."""
    documented = {key for row in rows("migrating", "that plugin", "the hub") for key in codes(row[0])}
    table = {key for line in SHARED.splitlines() if line.startswith("| `") for key in codes(line.split("|")[1])}
    assert documented
    assert table >= SHARED_KEYS
    accepted = {*_keys(IBSettings), *_keys(Pool), *_keys(Selectors, "selectors.")}
    assert accepted >= SHARED_KEYS


def test_settings_for_the_old_behavior_are_accepted(tmp_path: Path) -> None:
    """The settings that restore the shared plugin's behavior are accepted together."""
    wanted = [
        text
        for line in SHARED.splitlines()
        for text in codes(line)
        if text.startswith(("nodes:", "permissions:", "health:", "bringUp:", "excludeTopology:"))
    ]
    assert len(wanted) == 5
    pool = {"resourceName": "hca", "devices": ["ib0"]}
    for text in wanted:
        pool |= yaml.safe_load(text)
    (tmp_path / "ib.yaml").write_text(yaml.safe_dump({"configList": [pool], "cdi": ["annotations"]}))
    IBSettings.read(tmp_path / "ib.yaml")


@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "indented"])
def test_a_json_file_can_be_named_yaml(tmp_path: Path, indent: int | None) -> None:
    """The shared plugin's config.json is accepted as ib.yaml, unless it is indented by tabs."""
    config = {"configList": [{"resourceName": "a", "rdmaHcaMax": 1000, "devices": ["ib0"]}]}
    (tmp_path / "ib.yaml").write_text(json.dumps(config, indent=indent))
    (pool,) = IBSettings.read(tmp_path / "ib.yaml").config_list
    assert (pool.resource, pool.rdma_hca_max) == ("rdma/a", 1000)
    (tmp_path / "ib.json").write_text(json.dumps(config, indent="\t"))
    assert IBSettings.read(tmp_path / "ib.json").config_list == (pool,)


def _read_sriov(path: Path, entry: Mapping[str, object], **selectors: object) -> IBSettings:
    entry = {"resourceName": "x", "selectors": {"isRdma": True, **selectors}, **entry}
    (path / "ib.yaml").write_text(yaml.safe_dump({"resourceList": [entry], "cdi": ["annotations"]}))
    return IBSettings.read(path / "ib.yaml")


def test_the_sriov_plugins_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """Each key and each selector that the page names is accepted; the prefix is the default one."""
    (selectors,) = [line for line in SRIOV.splitlines() if line.startswith("| selectors |")]
    values = {"vendors": ["15b3"], "devices": ["101c"], "isRdma": True, "needVhostNet": True}
    values = {name: values.get(name, ["x"]) for name in SRIOV_SELECTORS}
    assert codes(selectors) == list(SRIOV_SELECTORS)
    settings = _read_sriov(tmp_path, {"excludeTopology": True, "additionalInfo": {"*": {"a": "b"}}}, **values)
    assert (settings.sriov.unserved, settings.sriov.ignored) == ({}, {})
    (pool,) = settings.pools
    assert (pool.mode, pool.resource) == (Mode.FUNCTION, "intel.com/x")
    assert f"`-resource-prefix` flag (`{pool.resource_prefix}`)" in SRIOV
    assert f"`{pool.full_cdi_kind.replace('intel.com', 'PREFIX')}=" in SRIOV
    assert (pool.nccl_ib_hca, pool.ucx_net_devices) == (False, False)


def test_unsupported_entries_of_the_sriov_plugins_file(tmp_path: Path) -> None:
    """Each entry that the page lists is left out with a reason; an unknown key leaves out nothing."""
    table = SRIOV.partition("| not served | |")[2].partition("\n\n")[0]
    listed = {code for line in table.splitlines() if line for code in codes(line.split("|")[1])}
    drivers = {code for code in listed if code in USERSPACE_DRIVERS}
    entries: dict[str, tuple[dict[str, object], dict[str, object]]] = {
        "isRdma: true": ({}, {"isRdma": False}),
        "selectors.vdpaType": ({}, {"vdpaType": "vhost"}),
        "selectors.ddpProfiles": ({}, {"ddpProfiles": ["x"]}),
        "deviceType: accelerator": ({"deviceType": "accelerator"}, {}),
        "deviceType: auxNetDevice": ({"deviceType": "auxNetDevice"}, {}),
        "selectors.drivers": ({}, {"drivers": sorted(drivers)}),
    }
    assert listed == entries.keys() | USERSPACE_DRIVERS
    for name, (entry, selectors) in entries.items():
        settings = _read_sriov(tmp_path, entry, **selectors)
        assert (list(settings.sriov.unserved), settings.sriov.pools) == (["intel.com/x"], []), name
    assert list(_read_sriov(tmp_path, {"colour": "red"}).sriov.ignored) == ["intel.com/x"]


def _theirs(section: str) -> set[str]:
    """Return the words of the first column of a section's first table."""
    table = section.partition("| that plugin | the hub |")[2].partition("\n\n")[0]
    return {code for line in table.splitlines() if line for code in codes(line.split("|")[1])}


def test_every_key_of_the_generic_device_plugin_is_documented(tmp_path: Path) -> None:
    """The page also has those of the smarter-device-manager, and its file is valid."""
    keys = {field.name for level in LEVELS for field in msgspec.structs.fields(level)}
    assert _theirs(GENERIC) >= {*keys, "domain", "device", "devices", "listen", "log-level", "plugin-directory"}
    assert _theirs(SMARTER) >= _keys(SmarterEntry)
    (example,) = re.findall("^```yaml\n(.*?)^```$", GENERIC, re.MULTILINE | re.DOTALL)
    (tmp_path / "generic.yaml").write_text(example)
    settings = load_settings(Generic, tmp_path / "generic.yaml")
    assert [resource.name for resource in settings.all_resources] == [
        f"squat.ai/{name}" for name in ("serial", "fuse", "dongle")
    ]


def test_the_page_with_the_cases_is_up_to_date() -> None:
    """Each case that the tests run has a row on the page, and the page has no other rows."""
    assert main(["--check"]) == 0, "run python -m scripts.migrating"


def test_each_case_has_a_row() -> None:
    """A row has both results, or says that they are the same; a difference has its reason, and the counts are right."""
    loaded = load_cases()
    cases = [case for peer in loaded.peers.values() for group in peer.groups for case in group.cases]
    lines = make_page(loaded).splitlines()
    different = [case for case in cases if case.because]
    assert sum(line.endswith("| same |") for line in lines) == len(cases) - len(different)
    for case in different:
        reason = ", not yet the same |" if case.because == NOT_YET else f", because {case.because} |"
        assert any(line.startswith(f"| {case.case} |") and line.endswith(reason) for line in lines), case
