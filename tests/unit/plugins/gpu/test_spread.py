"""Which shares and MIG devices a container should get: spread over the GPUs, or packed."""

import random
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.gpu.discovery.facts import Gpu, MigDevice, Topology
from plugins.gpu.preference import group_of, prefer
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy
from tests.simulators.nvml.profiles import make_profile
from tests.unit.plugins.gpu.gpu_topology import topology_of

DISTRIBUTED, PACKED = AllocationPolicy.DISTRIBUTED, AllocationPolicy.PACKED


def _gpu(number: int, migs: int = 0) -> Gpu:
    devices = tuple(MigDevice(f"MIG-{number}-{n}", n, "1g.5gb", n, 0, 1, 1, 5) for n in range(migs))
    return Gpu(f"GPU-{number}", number, number, "x", f"0000:{number:02x}:00.0", 1, None, (8, 0), bool(migs), devices)


def _replicas(gpus: int, replicas: int) -> list[Share]:
    return [
        Share("r", _gpu(number), None, Sharing.TIME_SLICING, replica, replicas)
        for number in range(gpus)
        for replica in range(replicas)
    ]


def _migs(gpus: int, migs: int) -> list[Share]:
    return [Share("r", gpu, mig) for gpu in (_gpu(number, migs) for number in range(gpus)) for mig in gpu.migs]


def _chosen(
    shares: Sequence[Share],
    held: Sequence[str],
    policy: AllocationPolicy,
    size: int,
    required: Sequence[str] = (),
) -> list[str]:
    """Return the preferred ids if some are held by others."""
    totals = Counter(map(group_of, shares))
    available = [share for share in shares if share.id not in held]
    kept = [share for share in available if share.id in required]
    return [share.id for share in prefer(Topology(), totals, policy, available, kept, size)]


@pytest.mark.parametrize(
    ("policy", "gpus", "replicas", "size", "counts"),
    [
        (DISTRIBUTED, 2, 4, 2, [1, 1]),
        (DISTRIBUTED, 3, 2, 3, [1, 1, 1]),
        (DISTRIBUTED, 2, 4, 4, [2, 2]),
        (DISTRIBUTED, 2, 4, 5, [2, 3]),
        (DISTRIBUTED, 1, 4, 1, [1]),
        (PACKED, 2, 4, 2, [2]),
        (PACKED, 3, 2, 3, [1, 2]),
        (PACKED, 2, 4, 4, [4]),
        (PACKED, 2, 4, 5, [1, 4]),
        (PACKED, 1, 4, 1, [1]),
    ],
)
def test_policies(policy: AllocationPolicy, gpus: int, replicas: int, size: int, counts: list[int]) -> None:
    """How many replicas of each GPU a container gets is the same as with NVIDIA's plugin."""
    chosen = _chosen(_replicas(gpus, replicas), [], policy, size)
    assert sorted(Counter(name.partition("::")[0] for name in chosen).values()) == counts


def test_distributed_replicas_of_one_container_are_on_different_gpus() -> None:
    """This holds as long as there are GPUs left, even if one of them has more free replicas."""
    held = ["GPU-0::0", "GPU-0::1", "GPU-0::2"]
    assert _chosen(_replicas(2, 4), held, DISTRIBUTED, 2) == ["GPU-1::0", "GPU-0::3"]


def test_distributed_and_packed_replicas() -> None:
    """They take the GPU with the fewest allocated replicas, or with the most."""
    held = ["GPU-0::0", "GPU-0::1", "GPU-1::0"]
    assert _chosen(_replicas(3, 4), held, DISTRIBUTED, 1) == ["GPU-2::0"]
    assert _chosen(_replicas(3, 4), held, PACKED, 1) == ["GPU-0::2"]
    assert _chosen(_replicas(3, 4), held, DISTRIBUTED, 2) == ["GPU-2::0", "GPU-1::1"]
    assert _chosen(_replicas(3, 4), held, PACKED, 2) == ["GPU-0::2", "GPU-0::3"]
    assert _chosen(_replicas(3, 4), held, PACKED, 3) == ["GPU-0::2", "GPU-0::3", "GPU-1::1"]


def test_a_full_gpu_is_not_preferred() -> None:
    """The `packed` policy does not choose replicas that are not available."""
    held = [f"GPU-0::{replica}" for replica in range(4)]
    assert _chosen(_replicas(2, 4), held, PACKED, 2) == ["GPU-1::0", "GPU-1::1"]


def test_required_replicas_count() -> None:
    """They are part of the response, and their GPU counts as used."""
    assert _chosen(_replicas(2, 4), [], DISTRIBUTED, 2, ["GPU-0::3"]) == ["GPU-0::3", "GPU-1::0"]


def test_mig_devices() -> None:
    """They are spread over the GPUs, or on as few as possible."""
    held = ["MIG-0-0", "MIG-1-0", "MIG-1-1"]
    assert _chosen(_migs(3, 3), held, DISTRIBUTED, 2) == ["MIG-2-0", "MIG-0-1"]
    assert _chosen(_migs(3, 3), held, PACKED, 2) == ["MIG-1-2", "MIG-0-1"]


def test_whole_gpus_by_topology() -> None:
    """Neither policy applies where nothing is shared."""
    gpus = make_profile("pcie8")
    shares = [Share("r", msgspec.structs.replace(_gpu(number), uuid=gpu.uuid)) for number, gpu in enumerate(gpus)]
    for policy in (DISTRIBUTED, PACKED):
        chosen = prefer(topology_of(gpus), {}, policy, shares[1:], [], 2)
        assert [share.gpu.index for share in chosen] == [2, 3]


@pytest.mark.parametrize("shares", [_replicas(2, 2), [Share("r", _gpu(number)) for number in range(4)]])
def test_odd_questions(shares: list[Share]) -> None:
    """They get no preference, and no error: a kubelet that makes such a request chooses for itself."""

    def ask(available: Sequence[Share], required: Sequence[Share], size: int) -> list[Share]:
        return prefer(Topology(), {}, DISTRIBUTED, available, required, size)

    assert ask(shares, [], 5) == []
    assert ask(shares[:2], shares[2:], 3) == []
    assert ask(shares, shares[:2], 1) == []
    assert ask(shares, [shares[0], shares[0]], 2) == []
    assert ask(shares, [], -1) == []
    assert ask([], [], 0) == []
    assert ask(shares, shares, 4) != []


@given(st.integers(1, 6), st.integers(2, 6), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_any_question_about_shares(gpus: int, replicas: int, rng: random.Random) -> None:
    """The response contains the requested number of shares with the required ones, in whatever order they are named."""
    shares = _replicas(gpus, replicas)
    available = rng.sample(shares, rng.randint(1, len(shares)))
    size = rng.randint(1, len(available))
    required = rng.sample(available, rng.randint(0, size))
    totals = Counter(map(group_of, shares))
    policy = rng.choice([DISTRIBUTED, PACKED])
    chosen = prefer(Topology(), totals, policy, available, required, size)
    assert len({share.id for share in chosen}) == size
    assert {share.id for share in required} <= {share.id for share in chosen} <= {share.id for share in available}
    again = prefer(Topology(), totals, policy, available[::-1], required[::-1], size)
    assert {share.id for share in again} == {share.id for share in chosen}
