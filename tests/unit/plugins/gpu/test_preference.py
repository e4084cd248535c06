"""Which GPUs a container should get: the best connected ones, or shares of as many GPUs as possible."""

import random
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.gpu.discovery.facts import Ancestor, Gpu, Link, MigDevice, Topology
from plugins.gpu.preference import group_of, prefer
from plugins.gpu.preference.connected import best_connected, score
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import AllocationPolicy
from tests.simulators.nvml import SimulatedGpu
from tests.simulators.nvml.profiles import ancestor, make_profile

DISTRIBUTED, PACKED = AllocationPolicy.DISTRIBUTED, AllocationPolicy.PACKED


def _topology(gpus: Sequence[SimulatedGpu]) -> Topology:
    return Topology(
        {
            (min(one.uuid, other.uuid), max(one.uuid, other.uuid)): Link(
                Ancestor(ancestor(one, other)), one.peers.get(other.uuid, 0)
            )
            for one, other in combinations(gpus, 2)
        }
    )


def _random_topology(names: Sequence[str], chance: random.Random) -> Topology:
    return Topology(
        {pair: Link(chance.choice(list(Ancestor)), chance.choice([0, 0, 1, 2])) for pair in combinations(names, 2)}
    )


def _best(profile: str, size: int, *, without: Sequence[int] = (), required: Sequence[int] = ()) -> set[int]:
    gpus = make_profile(profile)
    names = [gpu.uuid for gpu in gpus]
    available = [name for number, name in enumerate(names) if number not in without]
    return {
        names.index(name)
        for name in best_connected(_topology(gpus), available, [names[number] for number in required], size)
    }


def _worth(topology: Topology, available: Sequence[str], chosen: Sequence[str]) -> tuple[int, int]:
    """The sum of the pairs that are chosen, and of those that are left."""
    rest = [name for name in available if name not in chosen]
    first, second = (
        sum(score(topology.link(one, other)) for one, other in combinations(names, 2)) for names in (chosen, rest)
    )
    return first, second


def _truth(topology: Topology, available: Sequence[str], required: Sequence[str], size: int) -> tuple[int, int]:
    return max(
        _worth(topology, available, chosen) for chosen in combinations(available, size) if set(required) <= set(chosen)
    )


def _greedy(topology: Topology, available: Sequence[str], required: Sequence[str], size: int) -> tuple[int, int]:
    chosen = list(required) or [available[0]]
    while len(chosen) < size:
        free = [name for name in available if name not in chosen]
        chosen.append(max(free, key=lambda name: sum(score(topology.link(name, other)) for other in chosen)))
    return _worth(topology, available, chosen)


@pytest.mark.parametrize(
    ("link", "value"),
    [
        (Link(), 10),
        (Link(Ancestor.CPU), 20),
        (Link(Ancestor.HOST_BRIDGE), 30),
        (Link(Ancestor.MULTIPLE_SWITCHES), 40),
        (Link(Ancestor.SINGLE_SWITCH), 50),
        (Link(Ancestor.BOARD), 60),
        (Link(Ancestor.SYSTEM, 18), 1810),
    ],
)
def test_scores(link: Link, value: int) -> None:
    """What a connection is worth: where the paths meet, and 100 for each NVLink."""
    assert score(link) == value


@pytest.mark.parametrize(
    ("size", "without", "required", "expected"),
    [
        (2, (), (), {2, 3}),  # two links, and on one switch
        (2, (), (5,), {5, 6}),
        (4, (), (), {0, 1, 2, 3}),  # a board of four, not a ring over both
        (4, (0,), (), {4, 5, 6, 7}),
        (8, (), (), set(range(8))),
        (1, (), (), {0}),
    ],
)
def test_cube_mesh(size: int, without: Sequence[int], required: Sequence[int], expected: set[int]) -> None:
    """On a DGX-1 pairs with two NVLinks are preferred, and quads that are all connected."""
    got = _best("mesh8", size, without=without, required=required)
    gpus = make_profile("mesh8")
    names, topology = [gpu.uuid for gpu in gpus], _topology(gpus)
    available = [name for number, name in enumerate(names) if number not in without]
    assert _worth(topology, available, [names[n] for n in got]) == _worth(
        topology, available, [names[n] for n in expected]
    )
    assert set(required) <= got


def test_pcie_switches() -> None:
    """Two GPUs are taken from one switch, four from one NUMA node."""
    assert _best("pcie8", 2) == {0, 1}
    assert _best("pcie8", 2, without=(0,)) == {2, 3}
    assert _best("pcie8", 4, without=(1,)) == {4, 5, 6, 7}


def test_what_is_left_stays_good() -> None:
    """One GPU is taken where its switch has lost the other one: the pairs stay pairs."""
    assert _best("pcie8", 1, without=(3,)) == {2}
    assert _best("pcie16", 1, without=(8, 0)) in ({1}, {9})


def test_equal_gpus_are_taken_in_order() -> None:
    """Where all are connected alike the first ones are taken, so that the answer is always the same."""
    assert _best("switch8", 3) == {0, 1, 2}


@given(st.integers(2, 8), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_up_to_eight_gpus_nothing_is_better(count: int, chance: random.Random) -> None:
    """For any connections, any size and any requirement it is the best of all sets, and leaves the best rest."""
    names = [f"g{number}" for number in range(count)]
    topology = _random_topology(names, chance)
    size = chance.randint(1, count)
    required = chance.sample(names, chance.randint(0, size))
    chosen = best_connected(topology, names, required, size)
    assert set(required) <= set(chosen)
    assert len(set(chosen)) == size
    assert _worth(topology, names, chosen) == _truth(topology, names, required, size)


@given(st.integers(9, 16), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_beyond_eight_it_is_never_worse_than_greedy(count: int, chance: random.Random) -> None:
    """The search is bounded, and still at least as good as taking the best one after the other."""
    names = [f"g{number:02}" for number in range(count)]
    topology = _random_topology(names, chance)
    size = chance.randint(1, count)
    required = chance.sample(names, chance.randint(0, size))
    chosen = best_connected(topology, names, required, size)
    assert set(required) <= set(chosen)
    assert len(set(chosen)) == size
    assert _worth(topology, names, chosen)[0] >= _greedy(topology, names, required, size)[0]


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
    """The ids that are preferred where some are held by others."""
    totals = Counter(map(group_of, shares))
    available = [share for share in shares if share.id not in held]
    kept = [share for share in available if share.id in required]
    return [share.id for share in prefer(Topology(), totals, policy, available, kept, size)]


def test_replicas_of_one_container_are_on_different_gpus() -> None:
    """As long as there are GPUs left; then each gets a second one."""
    for policy in (DISTRIBUTED, PACKED):
        assert _chosen(_replicas(3, 4), [], policy, 3) == ["GPU-0::0", "GPU-1::0", "GPU-2::0"]
        assert sorted(_chosen(_replicas(2, 4), [], policy, 3)) == ["GPU-0::0", "GPU-0::1", "GPU-1::0"]


def test_distributed_and_packed_replicas() -> None:
    """The GPU with the fewest allocated replicas, or with the most."""
    held = ["GPU-0::0", "GPU-0::1", "GPU-1::0"]
    assert _chosen(_replicas(3, 4), held, DISTRIBUTED, 1) == ["GPU-2::0"]
    assert _chosen(_replicas(3, 4), held, PACKED, 1) == ["GPU-0::2"]
    assert _chosen(_replicas(3, 4), held, DISTRIBUTED, 2) == ["GPU-2::0", "GPU-1::1"]
    assert _chosen(_replicas(3, 4), held, PACKED, 2) == ["GPU-0::2", "GPU-1::1"]


def test_a_full_gpu_is_not_preferred() -> None:
    """Packed does not mean that what is not there is chosen."""
    held = [f"GPU-0::{replica}" for replica in range(4)]
    assert _chosen(_replicas(2, 4), held, PACKED, 2) == ["GPU-1::0", "GPU-1::1"]


def test_required_replicas_count() -> None:
    """They are part of the answer, and the GPU that they are on is used."""
    assert _chosen(_replicas(2, 4), [], DISTRIBUTED, 2, ["GPU-0::3"]) == ["GPU-0::3", "GPU-1::0"]


def test_mig_devices() -> None:
    """Spread over the GPUs or on as few as possible."""
    held = ["MIG-0-0", "MIG-1-0", "MIG-1-1"]
    assert _chosen(_migs(3, 3), held, DISTRIBUTED, 2) == ["MIG-2-0", "MIG-0-1"]
    assert _chosen(_migs(3, 3), held, PACKED, 2) == ["MIG-1-2", "MIG-0-1"]


def test_whole_gpus_by_topology() -> None:
    """Neither policy has a say where nothing is shared."""
    gpus = make_profile("pcie8")
    shares = [Share("r", msgspec.structs.replace(_gpu(number), uuid=gpu.uuid)) for number, gpu in enumerate(gpus)]
    for policy in (DISTRIBUTED, PACKED):
        chosen = prefer(_topology(gpus), {}, policy, shares[1:], [], 2)
        assert [share.gpu.index for share in chosen] == [2, 3]


@pytest.mark.parametrize("shares", [_replicas(2, 2), [Share("r", _gpu(number)) for number in range(4)]])
def test_odd_questions(shares: list[Share]) -> None:
    """No preference, and no error: a kubelet that asks so chooses for itself."""

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
def test_any_question_about_shares(gpus: int, replicas: int, chance: random.Random) -> None:
    """As many different shares as were asked for, the required ones among them, in whatever order they are named."""
    shares = _replicas(gpus, replicas)
    available = chance.sample(shares, chance.randint(1, len(shares)))
    size = chance.randint(1, len(available))
    required = chance.sample(available, chance.randint(0, size))
    totals = Counter(map(group_of, shares))
    policy = chance.choice([DISTRIBUTED, PACKED])
    chosen = prefer(Topology(), totals, policy, available, required, size)
    assert len({share.id for share in chosen}) == size
    assert {share.id for share in required} <= {share.id for share in chosen} <= {share.id for share in available}
    again = prefer(Topology(), totals, policy, available[::-1], required[::-1], size)
    assert {share.id for share in again} == {share.id for share in chosen}
