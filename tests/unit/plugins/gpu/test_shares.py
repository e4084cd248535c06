"""What is advertised of a node's GPUs: names, ids, replicas, and what is left out."""

import re
from collections import Counter

import msgspec
import pytest

from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.resources import Plan, plan
from plugins.gpu.settings.file import GPUSettings
from tests.simulators.nvml.profiles import make_profile


def _gpu(index: int, *profiles: str, mig: bool = False, name: str = "NVIDIA A100-SXM4-40GB") -> Gpu:
    """Create a GPU with MIG devices of these profiles; "1c.3g.20gb" has one compute slice of three."""
    migs = []
    for number, profile in enumerate(profiles):
        slices = re.search(r"(\d)g", profile)
        assert slices
        compute = re.match(r"(\d)c", profile) or slices
        sizes = int(slices[1]), int(compute[1])
        migs.append(MigDevice(f"MIG-{index}-{number}", number, profile, number, 0, *sizes, memory=5 << 30))
    pci = f"0000:{16 + index:02x}:00.0"
    mig = mig or bool(profiles)
    return Gpu(f"GPU-{index}", index, index, name, pci, 40 << 30, 0, (8, 0), mig, tuple(migs))


def _plan(gpus: list[Gpu], **sections: object) -> Plan:
    return plan(msgspec.convert(sections, GPUSettings), gpus)


def _advertised(planned: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for share in planned.shares:
        found.setdefault(share.resource, []).append(share.id)
    return found


def _sharing(*resources: dict[str, object], mode: str = "timeSlicing", **more: object) -> dict[str, object]:
    return {mode: {"resources": list(resources), **more}}


ALL = {"name": "nvidia.com/gpu", "replicas": 2}


def test_whole_gpus() -> None:
    """Each GPU is a device of nvidia.com/gpu, with its UUID as its id."""
    planned = _plan([_gpu(0), _gpu(1)])
    assert _advertised(planned) == {"nvidia.com/gpu": ["GPU-0", "GPU-1"]}
    assert (planned.excluded, planned.resources) == ((), ("nvidia.com/gpu",))


def test_a_divided_gpu_without_a_strategy() -> None:
    """It is advertised as a whole, as NVIDIA's plugin does."""
    assert _advertised(_plan([_gpu(0, "1g.5gb")])) == {"nvidia.com/gpu": ["GPU-0"]}


def test_strategy_single() -> None:
    """MIG devices take the name of whole GPUs."""
    planned = _plan([_gpu(0, "1g.5gb", "1g.5gb"), _gpu(1, "1g.5gb")], flags={"migStrategy": "single"})
    assert _advertised(planned) == {"nvidia.com/gpu": ["MIG-0-0", "MIG-0-1", "MIG-1-0"]}


def test_strategy_single_leaves_out_what_does_not_fit() -> None:
    """NVIDIA's plugin rejects such a node; here the usual size is served, and the rest is reported."""
    gpus = [_gpu(0, "1g.5gb", "1g.5gb", "3g.20gb"), _gpu(1), _gpu(2, mig=True)]
    planned = _plan(gpus, flags={"migStrategy": "single"})
    assert _advertised(planned) == {"nvidia.com/gpu": ["MIG-0-0", "MIG-0-1"]}
    reasons = dict(planned.excluded)
    assert reasons.keys() == {"MIG-0-2", "GPU-1", "GPU-2"}
    assert "this is a 3g.20gb, but most MIG devices on this node are 1g.5gb" in reasons["MIG-0-2"]
    assert "other GPUs on this node have MIG enabled" in reasons["GPU-1"]
    assert "it has no MIG devices" in reasons["GPU-2"]


def test_strategy_single_without_mig() -> None:
    """Nodes without MIG are served as usual."""
    assert _advertised(_plan([_gpu(0)], flags={"migStrategy": "single"})) == {"nvidia.com/gpu": ["GPU-0"]}


def test_strategy_mixed() -> None:
    """Each size has a resource, with "+" as "."; whole GPUs have theirs; a part of a GPU instance has no name."""
    gpus = [_gpu(0, "3g.20gb", "1g.5gb", "1g.5gb+me", "1c.3g.20gb"), _gpu(1)]
    planned = _plan(gpus, flags={"migStrategy": "mixed"})
    assert _advertised(planned) == {
        "nvidia.com/mig-3g.20gb": ["MIG-0-0"],
        "nvidia.com/mig-1g.5gb": ["MIG-0-1"],
        "nvidia.com/mig-1g.5gb.me": ["MIG-0-2"],
        "nvidia.com/gpu": ["GPU-1"],
    }
    assert dict(planned.excluded)["MIG-0-3"].startswith("a 1c.3g.20gb has 1 of 3 compute slices")


def test_patterns() -> None:
    """The first pattern that matches names the resource; a GPU that matches none has its usual name."""
    gpus = [_gpu(0, name="Tesla T4"), _gpu(1), _gpu(2, "1c.3g.20gb", "1g.5gb")]
    patterns = {
        "gpus": [
            {"pattern": "*A100*40GB", "name": "nvidia.com/a100"},
            {"pattern": "*A100*", "name": "nvidia.com/never"},
        ],
        "mig": [{"pattern": "1c.*", "name": "part"}],
    }
    planned = _plan(gpus, flags={"migStrategy": "mixed"}, resources=patterns)
    assert _advertised(planned) == {
        "nvidia.com/gpu": ["GPU-0"],
        "nvidia.com/a100": ["GPU-1"],
        "nvidia.com/part": ["MIG-2-0"],
        "nvidia.com/mig-1g.5gb": ["MIG-2-1"],
    }
    assert set(planned.resources) == {"nvidia.com/a100", "nvidia.com/never", "nvidia.com/gpu"}


def test_a_pattern_is_for_the_whole_name_and_taken_literally() -> None:
    """As in NVIDIA's plugin, only "*" has a special meaning."""
    patterns = [("T4", "part"), ("Tesla T", "start"), ("Tesla T.", "dot"), ("Tesla*T4*", "t4")]
    gpus = [{"pattern": pattern, "name": name} for pattern, name in patterns]
    assert _advertised(_plan([_gpu(0, name="Tesla T4")], resources={"gpus": gpus})) == {"nvidia.com/t4": ["GPU-0"]}


@pytest.mark.parametrize(
    ("more", "name"),
    [({}, "nvidia.com/gpu"), ({"renameByDefault": True}, "nvidia.com/gpu.shared")],
)
def test_replicas(more: dict[str, object], name: str) -> None:
    """An id is the UUID, two colons and a number; the resource has its own name or the one for shared devices."""
    planned = _plan([_gpu(0), _gpu(1)], sharing=_sharing(ALL, **more))
    assert _advertised(planned) == {name: ["GPU-0::0", "GPU-0::1", "GPU-1::0", "GPU-1::1"]}
    assert planned.resources == (name,)


def test_a_name_of_ones_own_for_shared_devices() -> None:
    """`rename` overrides renameByDefault, and takes effect, unlike in NVIDIA's plugin."""
    sharing = _sharing({**ALL, "rename": "nvidia.com/slice"}, renameByDefault=True)
    assert _advertised(_plan([_gpu(0)], sharing=sharing)) == {"nvidia.com/slice": ["GPU-0::0", "GPU-0::1"]}


def test_only_some_are_shared() -> None:
    """They are selected by index and UUID, with numbers of their own; the others stay whole."""
    entries = (
        {**ALL, "devices": [0], "replicas": 3, "rename": "nvidia.com/third"},
        {**ALL, "devices": ["GPU-b1028956-cfa2-0990-bf4a-5da9abb51763"]},
    )
    gpus = [_gpu(0), msgspec.structs.replace(_gpu(1), uuid="GPU-b1028956-cfa2-0990-bf4a-5da9abb51763"), _gpu(2)]
    planned = _plan(gpus, sharing=_sharing(*entries))
    assert {name: Counter(each.split("::")[0][:6] for each in ids) for name, ids in _advertised(planned).items()} == {
        "nvidia.com/third": {"GPU-0": 3},
        "nvidia.com/gpu": {"GPU-b1": 2, "GPU-2": 1},
    }
    assert set(planned.resources) == {"nvidia.com/gpu", "nvidia.com/third"}


def test_a_number_of_devices_is_shared() -> None:
    """The first ones are shared; if there are fewer, all of them are, and that is reported."""
    assert _advertised(_plan([_gpu(0), _gpu(1)], sharing=_sharing({**ALL, "devices": 1}))) == {
        "nvidia.com/gpu": ["GPU-0::0", "GPU-0::1", "GPU-1"]
    }
    planned = _plan([_gpu(0)], sharing=_sharing({**ALL, "devices": 4}))
    assert len(planned.shares) == 2
    assert dict(planned.excluded)["nvidia.com/gpu devices"] == (
        "cannot be shared: only 1 of 4 devices of nvidia.com/gpu exist"
    )


def test_mig_devices_are_shared() -> None:
    """They are selected by MIG index; a selector that matches nothing is reported."""
    entry = {"name": "nvidia.com/mig-1g.5gb", "replicas": 2, "devices": ["0:1", "1:0"]}
    planned = _plan([_gpu(0, "1g.5gb", "1g.5gb")], flags={"migStrategy": "mixed"}, sharing=_sharing(entry))
    assert _advertised(planned) == {"nvidia.com/mig-1g.5gb": ["MIG-0-0", "MIG-0-1::0", "MIG-0-1::1"]}
    assert dict(planned.excluded) == {"nvidia.com/mig-1g.5gb device 1:0": "cannot be shared: it does not exist"}


def test_mps() -> None:
    """There are replicas, too; a MIG device cannot be shared in this way."""
    planned = _plan([_gpu(0)], sharing=_sharing(ALL, mode="mps"))
    assert [(share.id, share.sharing) for share in planned.shares] == [("GPU-0::0", "mps"), ("GPU-0::1", "mps")]
    planned = _plan([_gpu(0, "1g.5gb")], flags={"migStrategy": "single"}, sharing=_sharing(ALL, mode="mps"))
    assert planned.shares == ()
    assert dict(planned.excluded) == {"MIG-0-0": "MPS cannot share MIG devices"}


@pytest.mark.parametrize(
    ("selector", "left"),
    [
        ("0", ["MIG-1-0", "MIG-1-1"]),
        ("1:0", ["GPU-0", "MIG-1-1"]),
        ("0000:10:00.0", ["MIG-1-0", "MIG-1-1"]),
        ("00000000:11:00.0", ["GPU-0"]),
        ("10:00.0", ["MIG-1-0", "MIG-1-1"]),
    ],
)
def test_exclusions(selector: str, left: list[str]) -> None:
    """A GPU is excluded with its MIG devices, however it is named; the reason names the selector."""
    gpus = [_gpu(0), _gpu(1, "1g.5gb", "1g.5gb")]
    planned = _plan(gpus, flags={"migStrategy": "mixed"}, dphub={"exclude": [selector]})
    assert [share.uuid for share in planned.shares] == left
    assert set(dict(planned.excluded).values()) == {f"excluded by dphub.exclude ({selector})"}


def test_ids_fit_on_the_wire() -> None:
    """With real UUIDs and many replicas an id stays within the 63 characters of the kubelet's API."""
    gpu = msgspec.structs.replace(_gpu(0), uuid=make_profile("single")[0].uuid)
    planned = _plan([gpu], sharing=_sharing({**ALL, "replicas": 10_000}))
    assert max(len(share.id) for share in planned.shares) <= 63
